"""Checks of the consistency token's way: whether clients get it, keep it and bring it back."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import CookieError, Morsel
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage

from routers.checks.classes import has_middleware
from routers.checks.finding import finding
from routers.conf import Profile, RoutingSettings
from routers.headers import TOKEN_HEADER

_OTHER_COOKIES: Final = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
_SECURE_PREFIXES: Final = ("__secure-", "__host-")
"""RFC 6265bis §4.1.3, Cookie Name Prefixes."""
_CORS: Final = "corsheaders.middleware.CorsMiddleware"


def check_tokens(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Without tokens nothing ties a client's reads to its writes."""
    if conf.profile is Profile.REPLICATION and not conf.consistency_tokens and len(set(conf.nodes)) > 1:
        yield finding(
            "routers.W003",
            "Reads go to replicas and CONSISTENCY_TOKENS is off: a client may not see what it has just written.",
            hint="Set ROUTERS['CONSISTENCY_TOKENS'] to True.",
        )


def check_cookie(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """The cookie can be set, belongs to the token alone, and travels where the session does."""
    name = conf.token_cookie
    if not conf.consistency_tokens or not name:
        return
    for other in _OTHER_COOKIES:
        if getattr(settings, other) in {name, conf.seen_cookie}:
            yield finding(
                "routers.E023",
                f"ROUTERS['TOKEN_COOKIE'] is {name!r} and {other} is {getattr(settings, other)!r}: "
                "each would overwrite the other.",
                hint="Give the token a cookie of its own, or set TOKEN_COOKIE to '' to use the header only.",
            )
    if not _is_cookie_name(name):
        yield finding(
            "routers.E024",
            f"ROUTERS['TOKEN_COOKIE'] is {name!r}, which no cookie can be called: answers with a token would fail.",
            hint="Use letters, digits, '-' and '_'.",
        )
    if conf.token_cookie_secure:
        return
    if name.lower().startswith(_SECURE_PREFIXES):
        yield finding(
            "routers.E025",
            f"ROUTERS['TOKEN_COOKIE'] is {name!r}, and browsers refuse a cookie of that name that is not secure.",
            hint="Set ROUTERS['TOKEN_COOKIE_SECURE'] to True, or choose a name without the prefix.",
        )
    elif settings.SESSION_COOKIE_SECURE:
        yield finding(
            "routers.W014",
            "SESSION_COOKIE_SECURE is on and ROUTERS['TOKEN_COOKIE_SECURE'] is not: the token also travels over HTTP.",
            hint="Set ROUTERS['TOKEN_COOKIE_SECURE'] to True.",
        )


def _is_cookie_name(name: str) -> bool:
    try:
        Morsel[str]().set(name, "", "")
    except CookieError:
        return False
    return True


def check_cors(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A page of another origin brings the cookie if it may send credentials; else it needs the header."""
    if not conf.consistency_tokens or not has_middleware(_CORS):
        return
    if conf.token_cookie and getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        return
    lacking = [
        setting
        for setting in ("CORS_ALLOW_HEADERS", "CORS_EXPOSE_HEADERS")
        if TOKEN_HEADER.lower() not in {each.lower() for each in getattr(settings, setting, ())}
    ]
    if lacking:
        yield finding(
            "routers.W015",
            f"{' and '.join(lacking)} lack {TOKEN_HEADER!r}: pages of other origins cannot bring tokens back.",
            hint=f"Add {TOKEN_HEADER.lower()!r} to {' and '.join(lacking)}.",
        )


CHECKS: Final = (check_tokens, check_cookie, check_cors)
