"""Checks of `ROUTERS['NODES']` against `DATABASES`: whether the aliases are the nodes of one cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage

from routers.checks.aliases import ENGINE
from routers.checks.finding import finding
from routers.conf import PRIMARY_ALIAS, Profile, RoutingSettings
from routers.lsn import Lsn
from routers.token import Token


def check_number(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """None: nothing works. One: there is no replica to read from."""
    if not conf.nodes:
        yield finding(
            "routers.W001",
            "No nodes are configured; every query will fail.",
            hint="Run `manage.py setup_replication`, or set HIGHLOAD_NODES for existing servers; "
            "in a project of your own, ROUTERS['NODES'].",
        )
    elif len(set(conf.nodes)) == 1 and conf.profile is Profile.REPLICATION:
        yield finding(
            "routers.W002",
            f"The profile is 'replication', but {conf.nodes[0]} is the only node: all reads go to it, "
            "and those beyond PRIMARY_READS_PER_SECOND are refused.",
            hint="Name the replicas in ROUTERS['NODES'], or set the profile to 'master-only'.",
        )


def check_names(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Each node has an alias in `DATABASES`, which is not `default` and fits into a token."""
    missing = [alias for alias in conf.nodes if alias not in settings.DATABASES]
    if missing:
        yield finding(
            "routers.E002",
            f"ROUTERS['NODES'] names {', '.join(missing)}, which DATABASES lacks.",
            hint="Build DATABASES with routers.conf.cluster_databases().",
        )
    if PRIMARY_ALIAS in conf.nodes:
        yield finding(
            "routers.E003",
            "'default' is not a node: it means the primary, whichever node that is.",
            hint="Give each node an alias of its own.",
        )
    for alias in conf.nodes:
        if not _fits_into_a_token(alias):
            yield finding(
                "routers.E019",
                f"ROUTERS['NODES'] names {alias!r}, which no consistency token can carry: "
                "clients that read there would be forgotten.",
                hint="Use at most 64 printable ASCII characters.",
            )


def _fits_into_a_token(alias: str) -> bool:
    payload = str(Token(1, 1, Lsn(0), alias))
    try:
        Token.parse(payload)
    except ValueError:
        return False
    return payload.isascii() and payload.isprintable()


def check_forgotten(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """An alias of the engine that is no node: `DATABASES` got a node that `ROUTERS` did not."""
    cluster = {PRIMARY_ALIAS, *conf.nodes}
    forgotten = [alias for alias, own in settings.DATABASES.items() if own.get("ENGINE") == ENGINE]
    for alias in sorted(set(forgotten) - cluster):
        yield finding(
            "routers.W004",
            f"DATABASES['{alias}'] uses {ENGINE}, but is no node: it is never probed, so no read is sent there.",
            hint=f"Add {alias!r} to ROUTERS['NODES'], or remove it from DATABASES.",
        )


def check_addresses(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Two aliases of one server look like two primaries on one timeline: a split brain, in which none is used."""
    aliases = defaultdict(list)
    for alias, own in _databases(conf).items():
        aliases[str(own.get("HOST", "")).lower(), str(own.get("PORT") or 5432)].append(alias)
    for (host, port), same in aliases.items():
        if len(same) > 1:
            yield finding(
                "routers.E013",
                f"{' and '.join(same)} have the same HOST {host!r} and PORT {port}: "
                "if that server is the primary, it looks like a split brain, and every write fails.",
                hint="Give each server one alias.",
            )


def check_database_names(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Replication copies a whole server: another database on the replica holds other data."""
    name = settings.DATABASES.get(PRIMARY_ALIAS, {}).get("NAME")
    for alias, own in _databases(conf).items():
        if own.get("NAME") != name:
            yield finding(
                "routers.E014",
                f"DATABASES['{alias}'] reads the database {own.get('NAME')!r}, 'default' writes to {name!r}.",
                hint="Set the same NAME, as routers.conf.cluster_databases() does.",
            )


def check_prober(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """The prober takes what it is not given from the node's alias: a role and a password that may not match."""
    for own in _databases(conf).values():
        user, password = own.get("USER"), own.get("PASSWORD")
        if password and not conf.probe_password and conf.probe_user not in {"", None, user}:
            given, lacking = "PROBE_USER", "PROBE_PASSWORD"
        elif conf.probe_password and not conf.probe_user and conf.probe_password != password:
            given, lacking = "PROBE_PASSWORD", "PROBE_USER"
        else:
            continue
        yield finding(
            "routers.W017",
            f"ROUTERS['{given}'] is set without {lacking}: the prober takes that of the application's role.",
            hint=f"Set {lacking} too. If no node lets the prober in, every query fails.",
        )
        return


def _databases(conf: RoutingSettings) -> dict[str, dict[str, Any]]:
    """What `DATABASES` says of the nodes."""
    return {alias: settings.DATABASES[alias] for alias in dict.fromkeys(conf.nodes) if alias in settings.DATABASES}


CHECKS: Final = (check_number, check_names, check_forgotten, check_addresses, check_database_names, check_prober)
