"""What every node and the web server do while a load runs, noted at short intervals. Facts only.

A thread of its own asks all nodes at once, as the monitor's role, and looks at the processes of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from management.connection import conninfo
from management.credentials import Login
from management.local_node import LocalNode
from management.record import RecordedNode

ANSWER_SECONDS: Final = 4.0
"""A node that takes longer is noted as silent."""
# Statistics of the application's database and role only: probers and this sampler use another database.
_SQL: Final = """
SELECT pg_is_in_recovery(),
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
        - '0/0'::pg_lsn)::bigint,
       xact_commit + xact_rollback,
       tup_returned + tup_fetched,
       numbackends,
       (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements(false)
        WHERE userid = (SELECT oid FROM pg_roles WHERE rolname = %(role)s))
FROM pg_stat_database
WHERE datname = %(database)s
"""


@dataclass(frozen=True, slots=True)
class NodeSample:
    """One node at one moment. Counters count from the node's start; None: it did not answer."""

    at: float
    """Seconds since 1970."""
    node: str
    is_primary: bool | None
    lsn_bytes: int | None
    """On the primary what is durable, on a replica what is visible."""
    transactions: int | None
    tuples_read: int | None
    connections: int | None
    application_queries: int | None
    """Statements of the application's role."""
    cpu_seconds: float | None
    """Of all its processes, since its start. None: they do not run on this machine."""


@dataclass(frozen=True, slots=True)
class ServerSample:
    """The web server at one moment."""

    at: float
    cpu_seconds: float
    workers: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was noted."""

    nodes: tuple[NodeSample, ...]
    server: tuple[ServerSample, ...]

    def of(self, node: str) -> list[NodeSample]:
        """One node's, in the order of time."""
        return [sample for sample in self.nodes if sample.node == node]

    @property
    def names(self) -> list[str]:
        """The nodes, in the order of the cluster."""
        return list(dict.fromkeys(sample.node for sample in self.nodes))

    def write(self, file: Path) -> None:
        """The nodes' samples as CSV."""
        with file.open("w", newline="") as lines:
            rows = csv.DictWriter(lines, [field.name for field in fields(NodeSample)])
            rows.writeheader()
            rows.writerows(asdict(sample) for sample in self.nodes)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the sampler looks at."""

    nodes: Sequence[RecordedNode]
    local: Sequence[LocalNode]
    monitor: Login
    database: str
    role: str
    """The application's, whose queries are counted."""
    server_pid: int | None


@contextlib.contextmanager
def sampling(watched: Watched, interval_seconds: float) -> Iterator[Sampler]:
    """Sample in the background."""
    sampler = Sampler(watched, interval_seconds)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()


class Sampler:
    """Takes a sample of everything each interval until it is stopped."""

    def __init__(self, watched: Watched, interval_seconds: float) -> None:
        self._watched = watched
        self._interval_seconds = interval_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="sampler")
        self._nodes: list[NodeSample] = []
        self._server: list[ServerSample] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the sample under way."""
        self._is_over.set()
        self._thread.join()

    def watch_on(self, seconds: float) -> None:
        """Block while so much more is noted."""
        self._is_over.wait(seconds)

    def sampled(self) -> Sampled:
        """What was noted so far."""
        return Sampled(tuple(self._nodes), tuple(self._server))

    async def _run(self) -> None:
        askers = [_Asker(node, self._watched) for node in self._watched.nodes]
        while not self._is_over.is_set():
            began_at = time.monotonic()
            self._nodes += await asyncio.gather(*(asker.ask() for asker in askers))
            if self._watched.server_pid is not None:
                self._server += _look_at_server(self._watched.server_pid)
            await asyncio.sleep(max(0.0, self._interval_seconds - (time.monotonic() - began_at)))
        for asker in askers:
            await asker.close()


class _Asker:
    """One connection to one node, opened when needed and dropped on the first error."""

    def __init__(self, node: RecordedNode, watched: Watched) -> None:
        self._node = node
        self._watched = watched
        self._local = next((local for local in watched.local if local.name == node.name), None)
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def ask(self) -> NodeSample:
        row: tuple[Any, ...] = (None,) * 6
        # Before the answer: a silent node must not move the moment at which others are compared.
        at = time.time()
        try:
            row = await asyncio.wait_for(self._ask(), ANSWER_SECONDS)
        except (psycopg.Error, OSError, TimeoutError):
            await self.close()
        in_recovery, lsn, transactions, tuples, connections, queries = row
        return NodeSample(
            at=at,
            node=self._node.name,
            is_primary=None if in_recovery is None else not in_recovery,
            lsn_bytes=lsn,
            transactions=transactions,
            tuples_read=tuples,
            connections=connections,
            application_queries=None if queries is None else int(queries),
            cpu_seconds=_cpu_seconds(self._local.pid()) if self._local else None,
        )

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _ask(self) -> tuple[Any, ...]:
        if self._connection is None:
            parameters = conninfo(self._node, self._watched.monitor)
            self._connection = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
        wanted = {"role": self._watched.role, "database": self._watched.database}
        found = await (await self._connection.execute(_SQL, wanted)).fetchone()
        return found or (None,) * 6


def _cpu_seconds(pid: int | None) -> float | None:
    """Of a process and all its children, those that have ended included. None: it is gone."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        own = process.cpu_times()
        # PostgreSQL and gunicorn wait for their children, whose times they then inherit.
        total = own.user + own.system + own.children_user + own.children_system
        for child in process.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system
    except psutil.NoSuchProcess:
        return None
    return total


def _look_at_server(pid: int) -> Iterable[ServerSample]:
    seconds = _cpu_seconds(pid)
    if seconds is None:
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        return [ServerSample(time.time(), seconds, len(psutil.Process(pid).children()))]
    return []


def increase(counters: Sequence[float | None]) -> float:
    """By how much a counter grew; after a restart it begins anew at 0.

    >>> increase([5, 7, None, 9]), increase([5, 7, 1, 2]), increase([])
    (4, 4, 0)
    """
    known = [counter for counter in counters if counter is not None]
    return sum(after - before if after >= before else after for before, after in pairwise(known))


def rates(moments: Sequence[tuple[float, float | None]], *, over_seconds: float) -> list[tuple[float, float | None]]:
    """Growth per second of a counter over the last so many seconds, at each moment. None where it is not known.

    >>> rates([(0.0, 0), (1.0, 10), (2.0, None), (3.0, 30)], over_seconds=1.0)
    [(1.0, 10.0), (2.0, None), (3.0, None)]
    """
    found: list[tuple[float, float | None]] = []
    start = 0
    for at, counter in moments:
        while moments[start][0] < at - over_seconds - 1e-3:
            start += 1
        since, before = moments[start]
        if at == since:
            continue
        is_known = counter is not None and before is not None and counter >= before
        found.append((at, (counter - before) / (at - since) if is_known else None))  # type: ignore[operator]
    return found


def lags(sampled: Sampled) -> dict[str, list[tuple[float, int | None]]]:
    """Of each node that was a replica: bytes behind the primary at each moment. None where either is not known."""
    by_tick: dict[str, list[NodeSample]] = {name: sampled.of(name) for name in sampled.names}
    ticks = list(zip(*by_tick.values(), strict=False))
    found: dict[str, list[tuple[float, int | None]]] = {}
    for tick in ticks:
        leader = max((each.lsn_bytes or 0 for each in tick if each.is_primary), default=None)
        for each in tick:
            if each.is_primary is None or each.is_primary:
                lag = None
            else:
                lag = None if leader is None or each.lsn_bytes is None else max(0, leader - each.lsn_bytes)
            found.setdefault(each.node, []).append((each.at, lag))
    return {node: series for node, series in found.items() if any(lag is not None for _, lag in series)}
