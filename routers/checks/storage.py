"""Checks of what Django itself keeps in the database: sessions and caches that expect to read what was just written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage

from routers.checks.classes import SESSION, lineage, outside_routing, sessions_are_in_database
from routers.checks.finding import finding
from routers.conf import Profile, RoutingSettings

_CACHE: Final = "django.core.cache.backends.db.DatabaseCache"
_CACHE_APP: Final = "django_cache"
"""Django's label for the models behind cache tables; no such app is installed."""


def check_sessions(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A session is saved after the view, so a redirect after a login reads what was written a moment ago."""
    if conf.profile is not Profile.REPLICATION or not sessions_are_in_database():
        return
    is_outside = any(SESSION in lineage(entry) for entry in outside_routing())
    if "sessions" not in conf.primary_apps and (is_outside or not conf.consistency_tokens):
        yield finding(
            "routers.E022",
            "Sessions are read from replicas, and no token says that one was just written: "
            "a user who has logged in would seem not to have.",
            hint="Add 'sessions' to ROUTERS['PRIMARY_APPS'].",
        )
    if settings.SESSION_SAVE_EVERY_REQUEST:
        yield finding(
            "routers.W012",
            "SESSION_SAVE_EVERY_REQUEST with sessions in the database: every request writes, "
            "so none of a user with a session succeeds without a primary.",
            hint="Set it to False, or keep sessions in a cache or in signed cookies.",
        )


def check_caches(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """A cache in the database is read where its router says, and replicas hear of a change later."""
    if conf.profile is not Profile.REPLICATION or _CACHE_APP in conf.primary_apps:
        return
    for alias, own in settings.CACHES.items():
        if _CACHE in lineage(str(own.get("BACKEND", ""))):
            yield finding(
                "routers.W013",
                f"CACHES['{alias}'] is in the database and read from replicas: "
                "what one request sets or deletes, others do not see at once.",
                hint=f"Add {_CACHE_APP!r} to ROUTERS['PRIMARY_APPS'].",
            )


CHECKS: Final = (check_sessions, check_caches)
