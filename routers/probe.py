"""Asks one node for its role, timeline and position, in one round trip. Knows the `pg_*` functions.

Needs no privilege but CONNECT; with `pg_read_all_stats` it also sees the WAL receiver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import psycopg

from routers.lsn import Lsn
from routers.node import NodeStatus, Role

logger = logging.getLogger(__name__)

TIMELINE_OF_PRIMARY: Final = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"
"""By the name of its current WAL file: pg_control_checkpoint() still shows the old one after a promotion."""
# A replica's timeline is the newest of what it receives and what it has recorded.
_SQL: Final = f"""
SELECT pg_is_in_recovery(),
       (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                          receiver.received_tli)
            ELSE {TIMELINE_OF_PRIMARY}
       END,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text,
       pg_last_wal_receive_lsn()::text,
       coalesce(receiver.status = 'streaming', false),
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
       CASE WHEN NOT pg_is_in_recovery()
                 AND current_setting('synchronous_standby_names') <> ''
                 AND pg_has_role('pg_read_all_stats', 'USAGE')
            THEN (SELECT count(*) FROM pg_stat_get_wal_senders() AS sender
                  WHERE sender.sync_state IN ('sync', 'quorum'))
       END
FROM (SELECT 1) AS one
LEFT JOIN pg_stat_wal_receiver AS receiver ON true
"""
# Made by `setup_replication`: reading the file itself needs a right that would open the whole data directory.
# A replica that has lost its source shows no timeline of its own until its next restartpoint; the names of the
# segments that it has received do.
_RECEIVED_SQL: Final = """
SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'
"""
_HISTORY_SQL: Final = "SELECT public.highload_timeline_history(%s)"
_HISTORY_LINE: Final = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)


Connection = psycopg.AsyncConnection[tuple[Any, ...]]
T = TypeVar("T")


class ProbeFailed(Exception):
    """A node gave no usable answer. The message says why."""


class Prober:
    """One connection to one node, opened when needed and dropped on the first error."""

    def __init__(self, conninfo: dict[str, Any], *, timeout_seconds: float) -> None:
        self._conninfo = conninfo
        self._timeout_seconds = timeout_seconds
        self._connection: Connection | None = None
        self._switches: dict[int, Mapping[int, Lsn] | None] = {}
        self._received: tuple[Lsn | None, int] | None = None
        """The newest timeline of which it held WAL, and how far it had received then."""

    async def probe(self) -> NodeStatus:
        """Ask the node. Takes at most twice the timeout: to connect, and to answer.

        Raises:
            ProbeFailed: No connection, no answer in time, or an error.
        """
        try:
            if self._connection is None:
                self._connection = await asyncio.wait_for(self._connect(), self._timeout_seconds)
            status = await self._ask(self._connection, _query)
            if status.role is Role.REPLICA:
                return status if status.is_streaming else await self._with_received_timeline(self._connection, status)
            if status.timeline not in self._switches:
                # Once for each timeline: a history never changes.
                self._switches = {status.timeline: await self._ask_history(self._connection, status.timeline)}
            return replace(status, switches=self._switches[status.timeline])
        except TimeoutError as error:
            await self.close()
            raise ProbeFailed(f"no answer within {self._timeout_seconds} s") from error
        except (psycopg.Error, OSError, ValueError) as error:
            await self.close()
            raise ProbeFailed(" ".join(str(error).split()) or type(error).__name__) from error

    async def close(self) -> None:
        """Drop the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> Connection:
        # Text of a database in SQL_ASCII would come as bytes.
        parameters = {**self._conninfo, "client_encoding": "UTF8"}
        return await psycopg.AsyncConnection.connect(**parameters, autocommit=True, prepare_threshold=0)

    async def _with_received_timeline(self, connection: Connection, status: NodeStatus) -> NodeStatus:
        """With the newest timeline of which it holds WAL, if this role may look."""
        if self._received is None or self._received[0] != status.receive_lsn:
            try:
                timeline = await self._ask(connection, _query_received)
            except psycopg.errors.InsufficientPrivilege as error:
                logger.warning(
                    "a replica without its source may seem to follow an older timeline (%s); "
                    "`manage.py setup_replication` grants what is missing",
                    " ".join(str(error).split()),
                )
                timeline = 0
            self._received = status.receive_lsn, timeline
        return replace(status, timeline=max(status.timeline, self._received[1]))

    async def _ask_history(self, connection: Connection, timeline: int) -> Mapping[int, Lsn] | None:
        """Where each older timeline ended. None if this role may not ask, or the function is missing."""
        try:
            return await self._ask(connection, lambda connection: _query_history(connection, timeline))
        except (psycopg.errors.UndefinedFunction, psycopg.errors.InsufficientPrivilege) as error:
            logger.warning(
                "the ends of older timelines are unknown (%s); `manage.py setup_replication` makes the function",
                " ".join(str(error).split()),
            )
            return None

    async def _ask(self, connection: Connection, question: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        query = asyncio.ensure_future(question(connection))
        done, _ = await asyncio.wait({query}, timeout=self._timeout_seconds)
        if not done:
            # Cancelling would make psycopg ask the silent node to cancel, and wait. A socket that is
            # shut down fails the query at once; on a duplicate, because libpq owns the descriptor.
            shut_down(connection.pgconn.socket)
            with contextlib.suppress(psycopg.Error, OSError):
                await query
            raise TimeoutError
        return query.result()


async def _query(connection: Connection) -> NodeStatus:
    row = await (await connection.execute(_SQL)).fetchone()
    if row is None:
        raise ValueError("the probe returned no row")
    in_recovery, system_identifier, timeline, lsn, receive_lsn, is_streaming, replay_age_seconds, synchronous = row
    return NodeStatus(
        role=Role.REPLICA if in_recovery else Role.PRIMARY,
        system_identifier=system_identifier,
        timeline=timeline,
        # NULL on a replica that has replayed nothing yet: as far behind as can be.
        lsn=Lsn.parse(lsn) if lsn else Lsn(0),
        receive_lsn=Lsn.parse(receive_lsn) if in_recovery and receive_lsn else None,
        is_streaming=is_streaming,
        replay_age_seconds=replay_age_seconds,
        synchronous_replicas=synchronous,
    )


async def _query_received(connection: Connection) -> int:
    row = await (await connection.execute(_RECEIVED_SQL)).fetchone()
    return row[0] or 0 if row else 0


async def _query_history(connection: Connection, timeline: int) -> Mapping[int, Lsn]:
    """Format: PostgreSQL source, src/backend/access/transam/timeline.c, readTimeLineHistory()."""
    row = await (await connection.execute(_HISTORY_SQL, [timeline])).fetchone()
    # The first timeline has no history file.
    text = row[0] if row and row[0] else ""
    return parse_history(text)


def parse_history(text: str) -> dict[int, Lsn]:
    r"""Where each earlier timeline ended, by its number: the content of a timeline's history file.

    >>> parse_history("1\t0/3000148\tno recovery target specified\n")
    {1: Lsn(value=50331976)}
    """
    return {int(match[1]): Lsn.parse(match[2]) for match in _HISTORY_LINE.finditer(text)}


def shut_down(descriptor: int) -> None:
    """End the conversation on a connection's socket: whoever waits for an answer fails at once."""
    with socket.socket(fileno=os.dup(descriptor)) as duplicate, contextlib.suppress(OSError):
        duplicate.shutdown(socket.SHUT_RDWR)
