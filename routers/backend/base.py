"""A thin database backend: `default` is the primary, found at connect time, and verified.

A connection that was opened before its node changed its role is closed before its next use outside a
transaction: a promoted replica's open connection silently becomes writable, and a demoted primary's
fails for ever, health checks or not. A read whose node fails is run on another. Everything else is
django-prometheus over Django's PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, NoReturn, cast

import psycopg
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.utils import Error, InterfaceError, OperationalError
from django_prometheus.db.backends.postgresql import base

from routers import health, metrics, placement
from routers.backend.cursors import RoutedCursor, RoutedDebugCursor
from routers.conf import PRIMARY_ALIAS, routing_settings
from routers.errors import PrimaryUnavailable, WriteOnReadNode
from routers.failures import Failure, classify
from routers.node import Topology
from routers.open_connections import OpenConnection
from routers.probe import TIMELINE_OF_PRIMARY
from routers.request_state import Scope, current_scope, note_write
from routers.selection import Reason
from routers.writes import is_select

_PRIMARY_ALIASES: Final = frozenset({PRIMARY_ALIAS, NO_DB_ALIAS})
"""Django makes and drops databases over a copy of `default` that it gives an alias of its own."""
_VERIFY: Final = f"""
SELECT pg_is_in_recovery(),
       (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN NOT pg_is_in_recovery()
            THEN {TIMELINE_OF_PRIMARY} END
"""


class _Binding(NamedTuple):
    """What a connection was opened to."""

    node: str
    incarnation: int | None
    timeline: int
    """The cluster's at that time."""


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # untyped
    """Django's wrapper of one alias in one thread."""

    _binding: _Binding | None = None
    _open: OpenConnection | None = None
    _has_uncommitted_change = False

    @property
    def is_primary_alias(self) -> bool:
        """Whether this alias means the primary."""
        return self.alias in _PRIMARY_ALIASES

    @property
    def node(self) -> str:
        """The node its connection was last opened to: for `default`, the primary of then. Empty before the first."""
        return self._binding.node if self._binding else ""

    # ── Connecting ─────────────────────────────────────────────────────────────────────────────────

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
            # The prober finds out whether it is the node, or only this connection (a limit, a password).
            if not self.is_primary_alias:
                health.monitor().ask_soon(self.alias)
                raise
            health.monitor().refresh()
            raise PrimaryUnavailable(f"the primary {self.node} does not accept this connection: {error}") from error
        self._forget_connection()
        self._open = OpenConnection(connection, node=self.node, is_for_writes=self.is_primary_alias)
        if self.is_primary_alias:
            try:
                self._verify(connection, self.node)
            except BaseException:
                connection.close()
                self._forget_connection()
                raise
        return connection

    def close_if_health_check_failed(self) -> None:
        """Django's hook before each use of an open connection."""
        if self.connection is not None and self._may_close() and self._is_stale():
            metrics.STALE_CONNECTIONS.labels(self.alias).inc()
            self.close()
        super().close_if_health_check_failed()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._has_uncommitted_change = False
            self._forget_connection()

    def _forget_connection(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.release()

    def _bind(self) -> str:
        """Choose the node to connect to and remember what it was then."""
        if not self.is_primary_alias:
            own: str = self.alias
            topology = health.topology()
            self._binding = _Binding(own, topology.incarnation_of(own), topology.timeline)
            return own
        if not routing_settings().nodes:
            raise PrimaryUnavailable("no nodes are configured; run `manage.py setup_replication` or set HIGHLOAD_NODES")
        topology = health.topology()
        if topology.primary is None:
            topology = health.monitor().refresh()
        if topology.primary is None:
            raise PrimaryUnavailable(f"no primary: {_describe(topology)}")
        self._binding = _Binding(topology.primary, topology.incarnation_of(topology.primary), topology.timeline)
        return topology.primary

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
        if self._binding is not None:
            self._binding = self._binding._replace(timeline=timeline)

    def _may_close(self) -> bool:
        return not self.in_atomic_block and self.get_autocommit()

    def _is_stale(self) -> bool:
        binding, topology = self._binding, health.topology()
        if binding is None:
            return False
        if self._open is not None and self._open.is_cut:
            return True
        if self.is_primary_alias and topology.primary != binding.node:
            return True
        return topology.incarnation_of(binding.node) != binding.incarnation

    # ── What statements did ────────────────────────────────────────────────────────────────────────

    def make_cursor(self, cursor: Any) -> RoutedCursor:
        """Django's hook: the cursor that application code gets."""
        return RoutedCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> RoutedDebugCursor:
        """Django's hook: the same with a log."""
        return RoutedDebugCursor(cursor, self)

    @contextmanager
    def running(self, sql: Any) -> Iterator[None]:
        """Around a statement: one that commits by itself may have to wait for replicas."""
        if not self.is_primary_alias or not self.autocommit or is_select(sql):
            yield
            return
        with self._committing():
            yield

    def note_change(self) -> None:
        """A statement on the primary changed something: for good now, or when its transaction commits."""
        if self.autocommit:
            self._tell_scope()
        else:
            self._has_uncommitted_change = True

    @property
    def has_uncommitted_change(self) -> bool:
        """Whether the transaction under way has changed something."""
        return self._has_uncommitted_change

    def _commit(self) -> None:
        with self._committing():
            super()._commit()
        if self._has_uncommitted_change:
            self._has_uncommitted_change = False
            self._tell_scope()

    def _rollback(self) -> None:
        self._has_uncommitted_change = False
        super()._rollback()

    def _tell_scope(self) -> None:
        if self._binding is not None:
            note_write(self._binding.timeline)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        opened = self._open
        if opened is None:
            yield
            return
        opened.is_committing = True
        try:
            yield
        finally:
            opened.is_committing = False

    # ── What to do when it failed ──────────────────────────────────────────────────────────────────

    def _cursor(self, name: str | None = None) -> Any:
        try:
            return super()._cursor(name)
        except (OperationalError, InterfaceError) as error:
            return self._elsewhere(error, Failure.OF_MOMENT)._cursor(name)

    def after_failure(self, error: Error, sql: Any, *, may_repeat: bool = True) -> DatabaseWrapper:
        """Another wrapper to run a failed read on.

        Args:
            error: What Django raised.
            sql: The statement that failed.
            may_repeat: Whether it is a read at all.

        Raises:
            WriteOnReadNode: A write was sent to a read-only alias.
            PrimaryUnavailable: This is not the primary any more; the write was not made.
            Error: The given one: it is no read, no other node can run it, or it would fail there too.
        """
        failure = classify(error)
        if failure is Failure.READ_ONLY:
            self._refuse_write(error)
        if failure is Failure.OF_NODE:
            self._report_loss(error)
        if failure is Failure.OF_STATEMENT or not may_repeat or (self.is_primary_alias and not is_select(sql)):
            raise error
        return self._elsewhere(error, failure)

    def _elsewhere(self, error: Error, failure: Failure) -> DatabaseWrapper:
        """The wrapper of another node for a routed read outside a transaction; raises the error if there is none."""
        scope = current_scope()
        # Before its first connect, a wrapper has no autocommit either.
        is_in_transaction = self.in_atomic_block or (self.connection is not None and not self.autocommit)
        if scope is None or is_in_transaction or not self._is_routed(scope):
            raise error
        scope.failed.add(self.alias)
        self.close()
        choice = placement.move(scope, routing_settings())
        alias = choice.alias or PRIMARY_ALIAS
        if choice.reason is Reason.NO_NODE or alias in scope.failed:
            raise error
        metrics.FAILOVERS.labels(self.alias, failure.name.lower()).inc()
        metrics.DECISIONS.labels(alias, Reason.FAILOVER.value).inc()
        scope.reason, scope.is_reading_default = Reason.FAILOVER, alias == PRIMARY_ALIAS
        scope.has_read_primary |= scope.is_reading_default
        return cast(DatabaseWrapper, connections[alias])

    def _is_routed(self, scope: Scope) -> bool:
        """Whether the router sent the read here; `using()` and a bare cursor name their node themselves."""
        return scope.is_reading_default and not scope.pinned if self.is_primary_alias else scope.node == self.alias

    def _report_loss(self, error: Error) -> None:
        if self._open is not None and self._open.is_cut:
            return  # The prober ended it: it knows.
        if self.is_primary_alias:
            health.monitor().ask_soon(self.node)
        else:
            health.monitor().suspect(self.alias, " ".join(str(error).split()))

    def _refuse_write(self, error: Error) -> NoReturn:
        if not self.is_primary_alias:
            raise WriteOnReadNode(
                f"a statement that writes was sent to {self.alias}, which only reads: {error}. It was not made. "
                f"Name the primary: .using({PRIMARY_ALIAS!r}), .db_manager({PRIMARY_ALIAS!r}), or "
                "`with routers.primary():` around it. Django itself sends there: update() and delete() of a "
                "GenericRelation, raw() with INSERT … RETURNING, data-changing CTEs."
            ) from error
        topology = health.monitor().refresh()
        if topology.primary == self.node:
            raise error  # The application asked for a read-only transaction.
        node = self.node
        self.close()
        raise PrimaryUnavailable(f"{node} is not the primary any more; the write was not made: {error}") from error


def _describe(topology: Topology) -> str:
    return "; ".join(
        f"{node.alias} is {node.status.role if node.status else node.condition}"
        + (f" ({node.reason})" if node.reason else "")
        for node in topology.nodes.values()
    )
