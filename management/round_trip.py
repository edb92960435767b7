"""Commits something on the primary and times its arrival on each replica. Leaves nothing behind but WAL."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from management.connection import connect
from management.credentials import Login
from management.record import RecordedNode
from routers.lsn import Lsn

_POLL_SECONDS: Final = 0.002
_UNCONFIRMED: Final = "01000"
"""PostgreSQL source, src/backend/replication/syncrep.c: of the warning when a wait was cut short."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How long a commit took, and its way to each replica."""

    commit_seconds: float | None
    """Until it was confirmed as the synchronous list asks. None: not within the timeout."""
    waited: bool
    """Whether it waited for synchronous replicas. False: it was known that none would confirm it."""
    arrival_seconds: Mapping[str, float | None]
    """Until a query on the replica would have seen it. None: not within the timeout."""


def measure_round_trip(
    primary: RecordedNode, replicas: Sequence[RecordedNode], login: Login, *, timeout_seconds: float, waits: bool
) -> RoundTrip:
    """Do it. Takes at most the timeout, and the time to connect.

    A commit that is not confirmed in time is left alone and its socket is shut: cancelled, it would be
    acknowledged without a replica.

    Args:
        primary: Where to commit.
        replicas: Where to look for it.
        login: Whose.
        timeout_seconds: How long to wait.
        waits: Whether the commit waits for synchronous replicas.
    """
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=len(replicas) + 1) as pool:

        def open_one(node: RecordedNode) -> psycopg.Connection[Any] | None:
            try:
                return opened.enter_context(connect(node, login, timeout_seconds=2 * timeout_seconds))
            except psycopg.Error:
                return None

        watchers = {node.name: open_one(node) for node in replicas}
        try:
            writer = opened.enter_context(connect(primary, login, timeout_seconds=timeout_seconds))
            target = _write(writer, waits=waits)
        except psycopg.Error:
            return RoundTrip(None, waits, dict.fromkeys(watchers))
        began = time.monotonic()
        commit = pool.submit(_commit, writer, began)
        arrivals = {
            name: pool.submit(_arrive, watcher, target, began, timeout_seconds) for name, watcher in watchers.items()
        }
        return RoundTrip(commit.result(), waits, {name: arrival.result() for name, arrival in arrivals.items()})


def _write(connection: psycopg.Connection[Any], *, waits: bool) -> Lsn:
    """Begin a transaction and write a message to the WAL; return where it ends."""
    if waits:
        connection.execute("SET synchronous_commit = on")
    connection.execute("BEGIN")
    row = connection.execute("SELECT pg_logical_emit_message(true, 'highload', 'round trip')::text").fetchone()
    return Lsn.parse(row[0]) if row else Lsn(0)


def _commit(connection: psycopg.Connection[Any], began: float) -> float | None:
    cut_short: list[str | None] = []
    connection.add_notice_handler(lambda notice: cut_short.append(notice.sqlstate))
    try:
        connection.execute("COMMIT")
    except psycopg.Error:
        return None
    return None if _UNCONFIRMED in cut_short else time.monotonic() - began


def _arrive(
    connection: psycopg.Connection[Any] | None, target: Lsn, began: float, timeout_seconds: float
) -> float | None:
    while connection is not None and time.monotonic() < began + timeout_seconds:
        try:
            row = connection.execute("SELECT pg_last_wal_replay_lsn()::text").fetchone()
        except psycopg.Error:
            return None
        # Past the message, not only at its end: what follows it is the commit.
        if row and row[0] and Lsn.parse(row[0]) > target:
            return time.monotonic() - began
        time.sleep(_POLL_SECONDS)
    return None
