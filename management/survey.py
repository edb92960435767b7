"""What every node says now, and how the silent ones are silent. Facts only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg

from management.connection import connect, conninfo
from management.credentials import Login
from management.local_node import LocalNode
from management.processes import wait_until
from management.record import ClusterRecord, RecordedNode
from management.state import StateDirectory
from routers.lsn import Lsn
from routers.node import Answer, NodeStatus, Role, Topology, Unreachable
from routers.probe import ProbeFailed, Prober
from routers.topology import find_primary

PROBE_TIMEOUT_SECONDS: Final = 2.0


class Evidence(StrEnum):
    """What is known of the process behind a node."""

    ANSWERS = "answers"
    STOPPED = "stopped"
    """This machine runs it, and its process is gone. Proof."""
    REFUSED = "refused"
    """Nothing listens on its port. Not proof: its address may be cut off or its port changed."""
    SILENT = "silent"
    """It accepts connections and does not answer, or no packet comes back: perhaps frozen, perhaps alive."""


@dataclass(frozen=True, slots=True)
class SurveyedNode:
    """One node, as found."""

    node: RecordedNode
    answer: Answer
    evidence: Evidence
    source: str | None = None
    """The node it streams from, by name, or its HOST:PORT if that is none of these. None: it does not stream."""

    @property
    def status(self) -> NodeStatus | None:
        """Its answer, or None if it gave none."""
        return self.answer if isinstance(self.answer, NodeStatus) else None


@dataclass(frozen=True, slots=True)
class Survey:
    """All nodes, as found."""

    nodes: Mapping[str, SurveyedNode]
    primary: str | None
    """The node that accepts writes on the newest timeline. None if there is none."""
    timeline: int
    system_identifier: int | None = None
    """The cluster's."""

    @property
    def writable(self) -> list[str]:
        """Every node that accepts writes; more than one is a split brain."""
        return [name for name, found in self.nodes.items() if found.status and found.status.role is Role.PRIMARY]

    @property
    def replicas(self) -> dict[str, NodeStatus]:
        """The replicas of this cluster that answer."""
        return {
            name: found.status
            for name, found in self.nodes.items()
            if found.status and found.status.role is Role.REPLICA and name not in self.strangers
        }

    @property
    def strangers(self) -> list[str]:
        """Nodes that belong to another cluster."""
        return [
            name
            for name, found in self.nodes.items()
            if found.status and self.system_identifier not in {None, found.status.system_identifier}
        ]

    def lag_bytes(self, name: str) -> int | None:
        """WAL that the primary has flushed and this replica has not replayed. None if one of them is silent."""
        leader = self.nodes[self.primary].status if self.primary else None
        replica = self.replicas.get(name)
        return replica.lsn.bytes_behind(leader.lsn) if leader and replica else None


@dataclass(frozen=True, slots=True)
class Sender:
    """A replica as the primary sees it: a row of `pg_stat_replication`.

    PostgreSQL docs, Monitoring, pg_stat_replication. The times are None while nothing is in flight.
    """

    name: str
    state: str
    sync_state: str
    write_lag_bytes: int | None
    flush_lag_bytes: int | None
    replay_lag_bytes: int | None
    write_lag_seconds: float | None
    flush_lag_seconds: float | None
    replay_lag_seconds: float | None
    replay_lsn: str | None = None


def take_survey(record: ClusterRecord, login: Login, state: StateDirectory) -> Survey:
    """Ask every node at once. Takes at most twice PROBE_TIMEOUT_SECONDS."""
    answers = asyncio.run(_ask_all(record, login))
    leadership = find_primary(Topology(system_identifier=record.system_identifier), answers)
    return Survey(
        nodes={
            node.name: SurveyedNode(
                node,
                answers[node.name],
                _evidence(node, answers[node.name], record.local(node.name, state)),
                _source(node, answers[node.name], record, login),
            )
            for node in record.nodes
        },
        primary=leadership.primary,
        timeline=leadership.timeline,
        system_identifier=leadership.system_identifier,
    )


def read_senders(node: RecordedNode, login: Login) -> list[Sender]:
    """The replicas connected to this node, as it sees them.

    Raises:
        psycopg.Error: It does not answer.
    """
    with connect(node, login, timeout_seconds=PROBE_TIMEOUT_SECONDS) as connection:
        return senders_of(connection)


def senders_of(connection: psycopg.Connection[Any]) -> list[Sender]:
    """The same over an open connection."""
    return [Sender(*row) for row in connection.execute(_SENDERS).fetchall()]


def await_streaming(
    primary: RecordedNode, names: Collection[str], login: Login, *, timeout_seconds: float
) -> tuple[str, ...]:
    """Wait until all these replicas stream and have replayed what the primary writes now; return those that have.

    A replica of a diverged history also connects, for an instant, before it is refused; it never replays
    the record that is written here.
    """
    with connect(primary, login) as connection:
        row = connection.execute("SELECT pg_logical_emit_message(true, 'highload', 'catch up')::text").fetchone()
    target = Lsn.parse(row[0]) if row else Lsn(0)

    def caught_up() -> set[str]:
        return {
            sender.name
            for sender in read_senders(primary, login)
            if sender.state == "streaming"
            and sender.replay_lsn is not None
            and Lsn.parse(sender.replay_lsn) >= target
            and (sender.replay_lag_bytes or 0) >= 0
        } & set(names)

    wait_until(lambda: caught_up() == set(names), timeout_seconds=timeout_seconds)
    return tuple(sorted(caught_up()))


_SENDERS: Final = """
SELECT application_name, state, sync_state,
       pg_wal_lsn_diff(here.lsn, write_lsn)::bigint,
       pg_wal_lsn_diff(here.lsn, flush_lsn)::bigint,
       pg_wal_lsn_diff(here.lsn, replay_lsn)::bigint,
       extract(epoch FROM write_lag)::float8,
       extract(epoch FROM flush_lag)::float8,
       extract(epoch FROM replay_lag)::float8,
       replay_lsn::text
FROM pg_stat_replication,
     (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                  ELSE pg_current_wal_flush_lsn() END AS lsn) AS here
WHERE state <> 'backup'
ORDER BY application_name
"""


def name_of(record: ClusterRecord, host: str, port: int) -> str:
    """The node at this address, or HOST:PORT if it is none of these."""
    names = [each.name for each in record.nodes if (each.host, each.port) == (host, port)]
    return names[0] if names else f"{host}:{port}"


async def _ask_all(record: ClusterRecord, login: Login) -> dict[str, Answer]:
    async def ask(node: RecordedNode) -> Answer:
        prober = Prober(conninfo(node, login), timeout_seconds=PROBE_TIMEOUT_SECONDS)
        try:
            return await prober.probe()
        except ProbeFailed as error:
            return Unreachable(str(error))
        finally:
            await prober.close()

    answers = await asyncio.gather(*(ask(node) for node in record.nodes))
    return dict(zip((node.name for node in record.nodes), answers, strict=True))


def _source(node: RecordedNode, answer: Answer, record: ClusterRecord, login: Login) -> str | None:
    if not isinstance(answer, NodeStatus) or not answer.is_streaming:
        return None
    try:
        with connect(node, login, timeout_seconds=PROBE_TIMEOUT_SECONDS) as connection:
            row = connection.execute("SELECT sender_host, sender_port FROM pg_stat_wal_receiver").fetchone()
    except psycopg.Error:
        return "unknown"
    if row is None:
        return None
    return name_of(record, row[0], row[1])


def _evidence(node: RecordedNode, answer: Answer, local: LocalNode | None) -> Evidence:
    if isinstance(answer, NodeStatus):
        return Evidence.ANSWERS
    if local is not None:
        return Evidence.STOPPED if local.pid() is None else Evidence.SILENT
    try:
        with socket.create_connection((node.host, node.port), timeout=PROBE_TIMEOUT_SECONDS):
            return Evidence.SILENT
    except ConnectionRefusedError:
        return Evidence.REFUSED
    except OSError:
        return Evidence.SILENT
