"""The settings of routing, read once from `settings.ROUTERS` and `settings.DATABASES`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed

from routers.errors import RoutingMisconfigured
from routers.topology import Limits

PRIMARY_ALIAS: Final = "default"
"""The alias that means "the primary, whichever node that is now"."""


class Profile(StrEnum):
    """Where reads go."""

    MASTER_ONLY = "master-only"
    OBSERVE = "observe"
    """Decides and counts as `replication` does, and reads the primary all the same."""
    REPLICATION = "replication"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSettings:
    """`settings.ROUTERS`. Each key is the upper-case name of a field."""

    nodes: tuple[str, ...] = ()
    """Aliases of this cluster's nodes in `DATABASES`, in any order."""
    profile: Profile = Profile.REPLICATION
    primary_apps: frozenset[str] = frozenset({"sessions", "admin", "contenttypes"})
    """App labels whose reads stay on the primary."""
    probe_user: str = ""
    """Role of the prober. Empty: the user of the node's alias."""
    probe_password: str = field(default="", repr=False)
    probe_database: str = ""
    """Database the prober connects to. Empty: the one of the node's alias."""
    probe_interval_seconds: float = 0.2
    probe_timeout_seconds: float = 0.5
    """After this long without an answer a node counts as unreachable."""
    max_lag_bytes: int = 64 * 1024 * 1024
    max_lag_seconds: float = 5.0
    readmit_after: int = 2
    """Answers in a row after which a node that was away may serve again."""
    consistency_tokens: bool = True
    """Whether clients are given tokens, and their tokens honoured."""
    token_cookie: str = "consistency_token"  # noqa: S105 - a name
    """Name of the token's cookie. Empty: only the header is used."""
    token_cookie_secure: bool = False
    """Whether the cookie travels over HTTPS only."""
    max_wait_seconds: float = 0.1
    """How long a read waits for a replica to reach what its client has seen, before it goes to the primary."""
    primary_reads_per_second: float = 200.0
    """Requests a second of one process that may read the primary because no replica can serve them."""
    server_timing: bool = False
    """Whether answers name the node and the reason in the header `Server-Timing`."""
    history_file: str = ""
    """Where the newest timeline is remembered over restarts. Empty: it is not."""
    system_identifier: int | None = None
    """The cluster's, as `pg_controldata` shows it. None: learnt from the nodes."""

    @property
    def seen_cookie(self) -> str:
        """The name of the cookie with what a client has seen since it wrote."""
        return f"{self.token_cookie}_seen"

    @property
    def limits(self) -> Limits:
        """What makes a replica good."""
        return Limits(
            max_lag_bytes=self.max_lag_bytes,
            max_lag_seconds=self.max_lag_seconds,
            readmit_after=self.readmit_after,
        )


@cache
def routing_settings() -> RoutingSettings:
    """The settings in force.

    Raises:
        RoutingMisconfigured: An unknown key or profile.
    """
    raw: dict[str, Any] = getattr(settings, "ROUTERS", {})
    known = {item.name.upper(): item.name for item in fields(RoutingSettings)}
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise RoutingMisconfigured(f"unknown keys in settings.ROUTERS: {', '.join(unknown)}; known: {', '.join(known)}")
    values = {known[key]: value for key, value in raw.items()}
    values["nodes"] = tuple(values.get("nodes", ()))
    values["primary_apps"] = frozenset(values.get("primary_apps", RoutingSettings().primary_apps))
    try:
        values["profile"] = Profile(values.get("profile", Profile.REPLICATION))
    except ValueError as error:
        raise RoutingMisconfigured(f"settings.ROUTERS['PROFILE']: {error}; known: {', '.join(Profile)}") from error
    return RoutingSettings(**values)


def cluster_databases(*, nodes: dict[str, dict[str, Any]], common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`DATABASES` of a cluster: one alias a node, read-only, and `default`, the primary.

    Args:
        nodes: What differs by node (`HOST`, `PORT`), by alias.
        common: What all share (`NAME`, `USER`, `PASSWORD`, `OPTIONS`, …).
    """
    options = {"connect_timeout": 2, "tcp_user_timeout": 5000, **common.get("OPTIONS", {})}
    shared = {"ENGINE": "routers.backend", "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True, **common}
    # A read that finds its connection dead is run elsewhere; asking first would cost a round trip each time.
    databases = {
        alias: {
            **shared,
            **own,
            "ATOMIC_REQUESTS": False,
            "CONN_HEALTH_CHECKS": False,
            # A mirror in tests: the test database is made once, on the primary, and replicated.
            "TEST": {"MIRROR": PRIMARY_ALIAS},
            "OPTIONS": _read_only({**options, **own.get("OPTIONS", {})}),
        }
        for alias, own in nodes.items()
    }
    return {PRIMARY_ALIAS: {**shared, "OPTIONS": options}, **databases}


def _read_only(options: dict[str, Any]) -> dict[str, Any]:
    flags = f"{options.get('options', '')} -c default_transaction_read_only=on".strip()
    return {**options, "options": flags}


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"ROUTERS", "DATABASES"}:
        routing_settings.cache_clear()


setting_changed.connect(_forget)
