"""Checks of `DATABASE_ROUTERS` and `MIDDLEWARE`: whether queries and requests reach routing, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import router

from routers.checks.classes import (
    ROUTER,
    ROUTING,
    SESSION,
    lineage,
    names,
    outside_routing,
    sessions_are_in_database,
)
from routers.checks.finding import finding
from routers.conf import Profile, RoutingSettings

_CACHING: Final = "django.middleware.cache.UpdateCacheMiddleware"
# AuthenticationMiddleware is not among them: the user is read when the view first looks at it.
_QUERYING: Final = frozenset(
    {
        "django.contrib.auth.middleware.RemoteUserMiddleware",
        "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
        "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
        "django.contrib.sites.middleware.CurrentSiteMiddleware",
    }
)


def check_router(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Without the router every query is on `default`; none behind it is asked, as it answers for every model."""
    positions = [place for place, each in enumerate(router.routers) if ROUTER in names(type(each))]
    if not positions:
        if conf.profile is not Profile.MASTER_ONLY:
            yield finding(
                "routers.E010",
                f"The profile is '{conf.profile}', but no router is set.",
                hint=f"Add {ROUTER!r} to DATABASE_ROUTERS.",
            )
        return
    for later in router.routers[positions[0] + 1 :]:
        if hasattr(later, "db_for_read") or hasattr(later, "db_for_write"):
            yield finding(
                "routers.E020",
                f"DATABASE_ROUTERS has {type(later).__name__} after {ROUTER}: it is never asked for an alias.",
                hint="Put it first, and let it return None for the models of this cluster.",
            )


def check_middleware(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Each request opens one scope."""
    count = sum(ROUTING in lineage(entry) for entry in settings.MIDDLEWARE)
    if not count and conf.profile is not Profile.MASTER_ONLY:
        yield finding(
            "routers.E011",
            f"The profile is '{conf.profile}', but requests open no routing scope: all reads would go to the primary.",
            hint=f"Add {ROUTING!r} to the beginning of MIDDLEWARE.",
        )
    if count > 1:
        yield finding(
            "routers.W010",
            "MIDDLEWARE has RoutingMiddleware twice: after each write the primary is asked twice for its position.",
            hint="Keep the first.",
        )


def check_order(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """What a middleware outside the scope reads or keeps, routing knows nothing of."""
    if conf.profile is not Profile.REPLICATION:
        return
    querying = _QUERYING | ({SESSION} if sessions_are_in_database() else set())
    for entry in outside_routing():
        known = lineage(entry)
        name = entry.rpartition(".")[2]
        if conf.consistency_tokens and _CACHING in known:
            yield finding(
                "routers.E021",
                f"MIDDLEWARE has {name} before RoutingMiddleware: it keeps one client's consistency token with the "
                "page and gives it to others, who then no longer see their own writes.",
                hint="Move RoutingMiddleware to the beginning.",
            )
        if known & querying:
            yield finding(
                "routers.W011",
                f"MIDDLEWARE has {name} before RoutingMiddleware: its queries go to the primary, and are in no token.",
                hint="Move RoutingMiddleware to the beginning.",
            )


CHECKS: Final = (check_router, check_middleware, check_order)
