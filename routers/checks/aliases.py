"""Checks of each alias of the cluster in `DATABASES`, by itself. One row of the table is one check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage

from routers.checks.finding import finding
from routers.conf import PRIMARY_ALIAS, Profile, RoutingSettings

ENGINE: Final = "routers.backend"
_READ_ONLY: Final = "default_transaction_read_only=on"
_SERIALIZABLE: Final = re.compile(r"default[_-]transaction[_-]isolation\s*=\s*'?serializable", re.IGNORECASE)
_SERVER_OPTIONS: Final = ("host", "hostaddr", "port", "target_session_attrs")


@dataclass(frozen=True, slots=True)
class Alias:
    """What `DATABASES` says of one alias."""

    own: dict[str, Any]
    is_node: bool

    @property
    def options(self) -> dict[str, Any]:
        """The parameters of its connections."""
        return self.own.get("OPTIONS") or {}

    @property
    def flags(self) -> str:
        """The parameters of its sessions on the server."""
        return self.options.get("options") or ""

    @property
    def chooses_its_server(self) -> bool:
        """Whether libpq, and not the address of one node, decides which server it connects to."""
        host = self.own.get("HOST") or ""
        return any(each in self.options for each in _SERVER_OPTIONS) or (
            self.is_node and ("," in host or ("service" in self.options and not host))
        )


class _Check(NamedTuple):
    code: str
    is_wrong: Callable[[Alias], object]
    problem: str
    """Follows the words "DATABASES['pg2']"."""
    hint: str


_TABLE: Final = (
    _Check(
        "routers.E004",
        lambda alias: alias.own.get("ENGINE") != ENGINE,
        f"does not use {ENGINE}.",
        f"Set ENGINE to {ENGINE!r}.",
    ),
    _Check(
        "routers.E005",
        lambda alias: alias.options.get("pool"),
        "has a connection pool: it keeps connections whose node changed its role.",
        "Remove OPTIONS['pool']; CONN_MAX_AGE keeps connections.",
    ),
    _Check(
        "routers.E006",
        lambda alias: alias.is_node and alias.own.get("ATOMIC_REQUESTS"),
        "has ATOMIC_REQUESTS: each request would open a transaction on this node.",
        "Remove it: a node's alias only reads.",
    ),
    _Check(
        "routers.E007",
        lambda alias: alias.is_node and _READ_ONLY not in alias.flags,
        "may write.",
        f"Add '-c {_READ_ONLY}' to OPTIONS['options'].",
    ),
    _Check(
        "routers.E015",
        lambda alias: alias.chooses_its_server,
        "does not name one server: the prober would ask one, and queries could go to another.",
        "Give the node's alias one HOST and PORT, and remove from OPTIONS what chooses a server "
        f"({', '.join(_SERVER_OPTIONS)}, service): the prober finds out the roles.",
    ),
    _Check(
        "routers.E016",
        lambda alias: not alias.is_node and _READ_ONLY in alias.flags,
        "is read-only: every write would fail.",
        f"Remove '-c {_READ_ONLY}' from its OPTIONS['options']; cluster_databases() adds it to the nodes.",
    ),
    _Check(
        "routers.E017",
        lambda alias: not alias.own.get("AUTOCOMMIT", True),
        "has AUTOCOMMIT off: always in a transaction, its connection is never renewed when its node changes its role.",
        "Remove AUTOCOMMIT; use transaction.atomic().",
    ),
    _Check(
        "routers.E018",
        lambda alias: alias.is_node and _SERIALIZABLE.search(alias.flags),
        "makes its transactions serializable, which a replica refuses: every read would fail.",
        "Remove it from OPTIONS['options'] and set OPTIONS['isolation_level']: that is for transactions only, "
        "and those are on 'default'.",
    ),
    _Check(
        "routers.W006",
        lambda alias: alias.own.get("CONN_MAX_AGE", 0) == 0,
        "has CONN_MAX_AGE 0: each request opens its connection anew.",
        "Set CONN_MAX_AGE to None; a connection whose node changed its role is closed all the same.",
    ),
    _Check(
        "routers.W007",
        lambda alias: alias.is_node and alias.own.get("CONN_HEALTH_CHECKS"),
        "has CONN_HEALTH_CHECKS: one more query for each request, though reads survive a dead connection without.",
        "Set it to False on the aliases of nodes.",
    ),
    _Check(
        "routers.W008",
        lambda alias: not alias.options.get("connect_timeout"),
        "has no connect_timeout: a connection to a server that is gone would block its worker for minutes.",
        "Add 'connect_timeout': 2 to OPTIONS.",
    ),
    _Check(
        "routers.W009",
        lambda alias: alias.is_node and (alias.own.get("TEST") or {}).get("MIRROR") != PRIMARY_ALIAS,
        "mirrors nothing in tests: they would try to create a database on a replica.",
        f"Set TEST to {{'MIRROR': {PRIMARY_ALIAS!r}}}.",
    ),
)


def check_aliases(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Every row of the table, for `default` and every node."""
    for name in dict.fromkeys([PRIMARY_ALIAS, *conf.nodes]):
        if name == PRIMARY_ALIAS or name in settings.DATABASES:
            alias = Alias(settings.DATABASES.get(name, {}), is_node=name != PRIMARY_ALIAS)
            for check in _TABLE:
                if check.is_wrong(alias):
                    yield finding(check.code, f"DATABASES['{name}'] {check.problem}", hint=check.hint)


def check_atomic_requests(conf: RoutingSettings) -> Iterator[CheckMessage]:
    """Inside a transaction every read is on the primary."""
    if conf.profile is not Profile.MASTER_ONLY and settings.DATABASES.get(PRIMARY_ALIAS, {}).get("ATOMIC_REQUESTS"):
        yield finding(
            "routers.W005",
            "DATABASES['default'] has ATOMIC_REQUESTS: every view runs in a transaction on the primary, "
            "so no replica is read, and without a primary nothing is.",
            hint="Remove it and use transaction.atomic() where something is written, "
            "or put transaction.non_atomic_requests on the views that read.",
        )


CHECKS: Final = (check_aliases, check_atomic_requests)
