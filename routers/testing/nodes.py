"""Acts on real nodes, and waits for what the router makes of it. Knows SQL; processes are `postmaster`'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from django.conf import settings

from routers import health
from routers.conf import routing_settings
from routers.node import Condition
from routers.testing.postmaster import NodeError, find_postmaster

_REPLICA_SECONDS: Final = 10.0
_ROUTER_SECONDS: Final = 60.0
"""Crash recovery is within it."""
_POLL_SECONDS: Final = 0.02
_CHECKPOINTER: Final = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of `settings.ROUTERS`, through a superuser."""

    admin: Mapping[str, Any] = field(repr=False)
    """Keywords of psycopg.connect(); not shown in the report of a failed test."""

    @contextmanager
    def frozen(self, alias: str | None = None) -> Iterator[str]:
        """Pause a replica's replay: it receives and confirms WAL, and shows old data. Yields its alias.

        Blocks until PostgreSQL calls the replay paused, for at most 10 s. At the end, even of a failed test, resumes
        it and blocks until the router calls the replica good, for at most 60 s; after a promotion, until it answers.

        Args:
            alias: The replica. None: the first good one.

        Raises:
            NodeError: It is no replica, or a wait was in vain.
        """
        timeline, replica = health.topology().timeline, alias or _first_good_replica()
        self._require_replica(replica)
        try:
            self._ask(replica, "SELECT pg_wal_replay_pause()")
            _wait_until(
                lambda: self._ask(replica, "SELECT pg_get_wal_replay_pause_state()") == "paused",
                _REPLICA_SECONDS,
                lambda: f"the replay of {replica} is not paused",
            )
            yield replica
        finally:
            self._ask(replica, "SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()")
            _wait_until_back(replica, timeline)

    @contextmanager
    def killed(self, alias: str, *, log: Path) -> Iterator[None]:
        """Kill -9 of a node of this machine, primary or replica. The router is left to find out by itself.

        Blocks until its processes are gone, for at most 10 s. At the end, even of a failed test, starts it as it was
        started before, with its output in `log`, and blocks as `frozen` does.

        Raises:
            NodeError: It runs elsewhere, or as a user this one cannot act for, or a wait was in vain.
        """
        timeline, directory = health.topology().timeline, Path(self._ask(alias, "SHOW data_directory"))
        postmaster = find_postmaster(alias, directory, child_pid=self._ask(alias, _CHECKPOINTER))
        try:
            postmaster.kill()
            yield
        finally:
            postmaster.start(log)
            _wait_until_back(alias, timeline, log)

    def promote(self, alias: str) -> None:
        """Promote a replica with `pg_promote()`. Nothing is fenced: the old primary stays as it is.

        Blocks for at most 30 s, then until `default` means this node to the router, for at most 60 s.

        Raises:
            NodeError: It is no replica, or a wait was in vain.
        """
        self._require_replica(alias)
        if not self._ask(alias, "SELECT pg_promote(true, 30)"):
            raise NodeError(f"{alias} was not promoted within 30 s; see its log.")
        _wait_until(
            lambda: health.monitor().refresh().primary == alias,
            _ROUTER_SECONDS,
            lambda: f"{alias} is promoted, but the router takes {health.topology().primary} for the primary",
        )

    def _require_replica(self, alias: str) -> None:
        if not self._ask(alias, "SELECT pg_is_in_recovery()"):
            raise NodeError(f"{alias} is not a replica: it accepts writes.")

    def _ask(self, alias: str, query: str) -> Any:
        """The first value of the answer, on a connection of its own: an older one may have died with the node."""
        known = routing_settings().nodes
        if alias not in known:
            raise NodeError(f"{alias!r} is not a node of settings.ROUTERS; those are {', '.join(known) or 'none'}.")
        own = settings.DATABASES[alias]
        address = {"dbname": "postgres", "connect_timeout": 5, **self.admin, "host": own["HOST"], "port": own["PORT"]}
        try:
            with psycopg.connect(**address, autocommit=True) as connection:
                row = connection.execute(query).fetchone()
        except psycopg.OperationalError as error:
            raise NodeError(f"{alias} does not answer node_admin: {error}") from error
        return row[0] if row else None


def catch_up() -> None:
    """Wait until all nodes are good and the replicas show what is committed by now: at most 10 s.

    Asks the nodes through the router's prober.

    Raises:
        NodeError: One is not or does not, as while it is frozen or dead.
    """

    def is_caught_up() -> bool:
        topology = health.monitor().refresh()
        good = {
            node.alias: node.status.lsn
            for node in topology.nodes.values()
            if node.condition is Condition.GOOD and node.status
        }
        leader = good.get(topology.primary or "")
        return leader is not None and len(good) == len(topology.nodes) and min(good.values()) >= leader

    _wait_until(is_caught_up, _REPLICA_SECONDS, lambda: "; ".join(map(_condition, health.topology().nodes)))


def _first_good_replica() -> str:
    topology = health.topology()
    if not topology.good_replicas:
        raise NodeError("the router knows no good replica: " + "; ".join(map(_condition, topology.nodes)))
    return topology.good_replicas[0]


def _condition(alias: str) -> str:
    node = health.topology().nodes[alias]
    details = node.reason or (f"{node.lag_bytes} bytes behind" if node.lag_bytes else "")
    return f"{alias} is {node.condition}" + (f" ({details})" if details else "")


def _wait_until_back(alias: str, timeline: int, log: Path | None = None) -> None:
    def is_back() -> bool:
        # Asked anew: the last snapshot may be older than the kill.
        topology = health.monitor().refresh()
        node = topology.nodes[alias]
        return node.condition is Condition.GOOD if topology.timeline == timeline else node.status is not None

    def problem() -> str:
        return _condition(alias) + (f"; its output is in {log}:\n{log.read_text()[-600:]}" if log else "")

    _wait_until(is_back, _ROUTER_SECONDS, problem)


def _wait_until(is_done: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise NodeError(f"after {seconds:g} s: {problem()}")
        time.sleep(_POLL_SECONDS)
