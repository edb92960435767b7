"""System checks of the routing settings. Each has a stable id and a hint."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from routers.conf import PRIMARY_ALIAS, Profile, RoutingSettings, routing_settings
from routers.errors import RoutingMisconfigured

ENGINE = "routers.backend"
ROUTER = "routers.router.PrimaryReplicaRouter"
MIDDLEWARE = "routers.middleware.RoutingMiddleware"


def check_routing(**_: Any) -> list[CheckMessage]:
    """All findings on `settings.ROUTERS` and what it depends on."""
    try:
        conf = routing_settings()
    except (RoutingMisconfigured, TypeError) as error:
        return [Error(str(error), hint="See the settings reference.", id="routers.E001")]
    return [*_check_aliases(conf), *_check_limits(conf), *_check_wiring(conf)]


def _check_aliases(conf: RoutingSettings) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    missing = [alias for alias in conf.nodes if alias not in settings.DATABASES]
    if missing:
        found.append(
            Error(
                f"ROUTERS['NODES'] names {', '.join(missing)}, which DATABASES lacks.",
                hint="Build DATABASES with routers.conf.cluster_databases().",
                id="routers.E002",
            )
        )
    if PRIMARY_ALIAS in conf.nodes:
        found.append(
            Error(
                "'default' is not a node: it means the primary, whichever node that is.",
                hint="Give each node an alias of its own.",
                id="routers.E003",
            )
        )
    for alias in [PRIMARY_ALIAS, *conf.nodes]:
        found += _check_alias(alias, settings.DATABASES.get(alias, {}), is_node=alias in conf.nodes)
    return found


def _check_alias(alias: str, own: dict[str, Any], *, is_node: bool) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    options = own.get("OPTIONS", {})
    if own.get("ENGINE") != ENGINE:
        found.append(
            Error(f"DATABASES['{alias}'] does not use {ENGINE}.", hint=f"Set ENGINE to {ENGINE!r}.", id="routers.E004")
        )
    if options.get("pool"):
        found.append(
            Error(
                f"DATABASES['{alias}'] has a connection pool: it keeps connections whose node changed its role.",
                hint="Remove OPTIONS['pool']; CONN_MAX_AGE keeps connections.",
                id="routers.E005",
            )
        )
    if is_node and own.get("ATOMIC_REQUESTS"):
        found.append(
            Error(
                f"DATABASES['{alias}'] has ATOMIC_REQUESTS: each request would open a transaction on this node.",
                hint="Set it on 'default' only.",
                id="routers.E006",
            )
        )
    if is_node and "default_transaction_read_only=on" not in options.get("options", ""):
        found.append(
            Error(
                f"DATABASES['{alias}'] may write.",
                hint="Add '-c default_transaction_read_only=on' to OPTIONS['options'].",
                id="routers.E007",
            )
        )
    return found


def _check_limits(conf: RoutingSettings) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    positive = {
        "PROBE_INTERVAL_SECONDS": conf.probe_interval_seconds,
        "PROBE_TIMEOUT_SECONDS": conf.probe_timeout_seconds,
        "MAX_LAG_BYTES": conf.max_lag_bytes,
        "MAX_LAG_SECONDS": conf.max_lag_seconds,
        "READMIT_AFTER": conf.readmit_after,
        "PRIMARY_READS_PER_SECOND": conf.primary_reads_per_second,
    }
    for name, value in positive.items():
        if value <= 0:
            found.append(Error(f"ROUTERS['{name}'] is {value}.", hint="It must be greater than 0.", id="routers.E008"))
    if conf.max_lag_seconds < conf.probe_interval_seconds:
        found.append(
            Error(
                f"ROUTERS['MAX_LAG_SECONDS'] ({conf.max_lag_seconds}) is shorter than "
                f"PROBE_INTERVAL_SECONDS ({conf.probe_interval_seconds}): every replica would seem to lag.",
                hint="Lag is known only as finely as the nodes are probed.",
                id="routers.E009",
            )
        )
    if conf.max_wait_seconds < 0:
        found.append(
            Error(f"ROUTERS['MAX_WAIT_SECONDS'] is {conf.max_wait_seconds}.", hint="0 waits never.", id="routers.E008")
        )
    return found


def _check_wiring(conf: RoutingSettings) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not conf.nodes:
        found.append(
            Warning(
                "No nodes are configured; every query will fail.",
                hint="Run `manage.py setup_replication`, or set HIGHLOAD_NODES for existing servers.",
                id="routers.W001",
            )
        )
    if conf.profile is Profile.REPLICATION and ROUTER not in settings.DATABASE_ROUTERS:
        found.append(
            Error(
                "The profile is 'replication', but no router is set.",
                hint=f"Add {ROUTER!r} to DATABASE_ROUTERS.",
                id="routers.E010",
            )
        )
    if conf.profile is Profile.REPLICATION and MIDDLEWARE not in settings.MIDDLEWARE:
        found.append(
            Error(
                "The profile is 'replication', but requests open no routing scope: all reads would go to the primary.",
                hint=f"Add {MIDDLEWARE!r} to the beginning of MIDDLEWARE.",
                id="routers.E011",
            )
        )
    return found
