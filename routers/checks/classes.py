"""Which classes a project has put into its settings, by dotted name. A subclass counts as what it derives from."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.utils.module_loading import import_string

ROUTER: Final = "routers.router.PrimaryReplicaRouter"
ROUTING: Final = "routers.middleware.RoutingMiddleware"
SESSION: Final = "django.contrib.sessions.middleware.SessionMiddleware"


def lineage(path: str) -> frozenset[str]:
    """The dotted names of the class at `path` and of its bases. Only `path` if that is no class."""
    try:
        found = import_string(path)
    except Exception:  # Whatever it is, Django says it when it loads the class.
        return frozenset({path})
    return frozenset({path, *names(found)})


def names(found: object) -> frozenset[str]:
    """The dotted names of a class and of its bases. None for anything else."""
    bases = found.__mro__ if isinstance(found, type) else ()
    return frozenset(f"{base.__module__}.{base.__qualname__}" for base in bases)


def has_middleware(path: str) -> bool:
    """Whether requests pass this middleware."""
    return any(path in lineage(entry) for entry in settings.MIDDLEWARE)


def outside_routing() -> list[str]:
    """The middlewares that stand before the first `RoutingMiddleware`. Empty if there is none."""
    for position, entry in enumerate(settings.MIDDLEWARE):
        if ROUTING in lineage(entry):
            return list(settings.MIDDLEWARE[:position])
    return []


def sessions_are_in_database() -> bool:
    """Whether requests use sessions that lie in a table of the cluster."""
    store = lineage(f"{settings.SESSION_ENGINE}.SessionStore")
    return "django.contrib.sessions.backends.db.SessionStore" in store and has_middleware(SESSION)
