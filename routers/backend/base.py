"""A thin database backend: `default` is the primary, found at connect time, and verified.

A connection that was opened before its node changed its role is closed before its next use outside a
transaction: a promoted replica's open connection silently becomes writable, and a demoted primary's
fails for ever, health checks or not. Everything else is django-prometheus over Django's PostgreSQL.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import psycopg
from django.conf import settings
from django.db.backends.base.base import NO_DB_ALIAS
from django_prometheus.db.backends.postgresql import base

from routers import health, metrics
from routers.conf import PRIMARY_ALIAS, routing_settings
from routers.errors import PrimaryUnavailable
from routers.node import Topology

_PRIMARY_ALIASES: Final = frozenset({PRIMARY_ALIAS, NO_DB_ALIAS})
"""Django makes and drops databases over a copy of `default` that it gives an alias of its own."""
_VERIFY: Final = """
SELECT pg_is_in_recovery(),
       (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END
"""


class _Binding(NamedTuple):
    """What a connection was opened to."""

    node: str | None
    incarnation: int | None


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # untyped
    """Django's wrapper of one alias in one thread."""

    _binding: _Binding | None = None

    def get_connection_params(self) -> dict[str, Any]:
        """Django's parameters, with the address of the primary for `default`.

        Raises:
            PrimaryUnavailable: No node is known to be the primary.
        """
        params: dict[str, Any] = super().get_connection_params()
        node = self._bind()
        if node != self.alias:
            own = settings.DATABASES[node]
            params.update(host=own["HOST"], port=own["PORT"])
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        """Connect, and on `default` make sure that it is the primary of the newest timeline.

        Raises:
            PrimaryUnavailable: The node does not answer or is not the primary (any more).
        """
        try:
            connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if self.alias not in _PRIMARY_ALIASES:
                health.monitor().suspect(self.alias, f"connection failed: {error}")
                raise
            # The prober finds out whether it is the node, or only this connection (a limit, a password).
            health.monitor().refresh()
            raise PrimaryUnavailable(f"the primary {self._node()} does not accept this connection: {error}") from error
        if self.alias in _PRIMARY_ALIASES:
            try:
                self._verify(connection, self._node())
            except BaseException:
                connection.close()
                raise
        return connection

    def close_if_health_check_failed(self) -> None:
        """Django's hook before each use of an open connection."""
        if self.connection is not None and self._may_close() and self._is_stale():
            metrics.STALE_CONNECTIONS.labels(self.alias).inc()
            self.close()
        super().close_if_health_check_failed()

    def _bind(self) -> str:
        """Choose the node to connect to and remember what it was then."""
        if self.alias not in _PRIMARY_ALIASES:
            own: str = self.alias
            self._binding = _Binding(own, health.topology().incarnation_of(own))
            return own
        if not routing_settings().nodes:
            raise PrimaryUnavailable("no nodes are configured; run `manage.py setup_replication` or set HIGHLOAD_NODES")
        topology = health.topology()
        if topology.primary is None:
            topology = health.monitor().refresh()
        if topology.primary is None:
            raise PrimaryUnavailable(f"no primary: {_describe(topology)}")
        self._binding = _Binding(topology.primary, topology.incarnation_of(topology.primary))
        return topology.primary

    def _node(self) -> str:
        return str(self._binding.node if self._binding else None)

    def _verify(self, connection: psycopg.Connection[Any], node: str) -> None:
        connection.autocommit = True
        in_recovery, system_identifier, timeline = connection.execute(_VERIFY).fetchone() or (True, None, 0)
        topology = health.topology()
        if in_recovery or system_identifier != topology.system_identifier or (timeline or 0) < topology.timeline:
            problem = (
                f"it is {'a replica' if in_recovery else 'writable'}, system {system_identifier}, timeline {timeline}; "
                f"the cluster is system {topology.system_identifier}, timeline {topology.timeline}"
            )
            health.monitor().refresh()
            raise PrimaryUnavailable(f"{node} is not the primary of this cluster: {problem}")

    def _may_close(self) -> bool:
        return not self.in_atomic_block and self.get_autocommit()

    def _is_stale(self) -> bool:
        binding, topology = self._binding, health.topology()
        if binding is None or binding.node is None:
            return False
        if self.alias in _PRIMARY_ALIASES and topology.primary != binding.node:
            return True
        return topology.incarnation_of(binding.node) != binding.incarnation


def _describe(topology: Topology) -> str:
    return "; ".join(
        f"{node.alias} is {node.status.role if node.status else node.condition}"
        + (f" ({node.reason})" if node.reason else "")
        for node in topology.nodes.values()
    )
