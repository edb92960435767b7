"""Makes a replica the primary that the others follow: what a failover and a switchover have in common.

Order: what the candidate needs to accept commits is set before it is promoted. An inherited list of
synchronous replicas would hang its first commit for ever, and without slots nobody could follow it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from management import provisioning
from management.connection import connect, conninfo, redirected
from management.credentials import OperatorCredentials
from management.errors import Incomplete, OperationError
from management.record import ClusterRecord, RecordedNode, require_record, save_record
from management.state import StateDirectory
from management.survey import Survey, await_streaming, take_survey
from management.synchronous import SynchronousReplication
from management.talk import Say
from routers.node import NodeStatus, Role


class Heir(Protocol):
    """What a plan says of the next primary."""

    @property
    def candidate(self) -> str:
        """The replica to be promoted."""

    @property
    def timeline(self) -> int:
        """The one it leaves."""

    @property
    def followers(self) -> tuple[str, ...]:
        """All that shall stream from it."""

    @property
    def synchronous(self) -> SynchronousReplication:
        """Which of them shall confirm its commits."""


@dataclass(frozen=True, slots=True)
class Succession:
    """The cluster, the rights, and how long each wait may take."""

    record: ClusterRecord
    credentials: OperatorCredentials
    state: StateDirectory
    timeout_seconds: float
    say: Say

    def survey(self) -> Survey:
        """Ask every node."""
        return take_survey(self.record, self.credentials.superuser, self.state)

    def prepare(self, heir: Heir) -> None:
        """Give the candidate its own synchronous list and a slot for each follower. It stays a replica."""
        with connect(self.record.node(heir.candidate), self.credentials.superuser) as connection:
            provisioning.set_synchronous(connection, heir.synchronous)
            for name in heir.followers:
                provisioning.ensure_slot(connection, name)
        self.say(f"{heir.candidate}: slots made, synchronous list is now {heir.synchronous.setting() or 'empty'}")

    def redirect(self, names: Collection[str], heir: Heir) -> None:
        """Let these replicas follow the candidate, with the credentials that they or it have used."""
        candidate, login = self.record.node(heir.candidate), self.credentials.superuser
        with connect(candidate, login) as connection:
            known = provisioning.read_primary_conninfo(connection)
        for name in names:
            with connect(self.record.node(name), login) as connection:
                target = redirected(provisioning.read_primary_conninfo(connection) or known, candidate, name)
                provisioning.follow(connection, conninfo=target, slot=name)
            self.say(f"{name} follows {heir.candidate}")

    def promote(self, heir: Heir) -> int:
        """Promote the candidate; its new timeline. Blocks until it accepts writes.

        Raises:
            OperationError: It does not.
        """
        with connect(self.record.node(heir.candidate), self.credentials.superuser) as connection:
            connection.execute("SELECT set_config('statement_timeout', '0', false)")
            # False means a timeout or a failure alike; what counts is what the node says afterwards.
            connection.execute("SELECT pg_promote(true, %s)", [max(1, int(self.timeout_seconds))])
        status = self.survey().nodes[heir.candidate].status
        if status is None or status.role is not Role.PRIMARY or status.timeline <= heir.timeline:
            raise OperationError(f"{heir.candidate} did not become the primary: {_describe(status)}")
        self.say(f"{heir.candidate} is the primary of timeline {status.timeline}")
        return status.timeline

    def settle(self, heir: Heir, timeline: int) -> tuple[str, ...]:
        """See that the others stream and that a commit goes through; record it all. Returns who streams.

        Raises:
            Incomplete: Somebody does not stream, or a commit is not confirmed.
        """
        candidate, login = self.record.node(heir.candidate), self.credentials.superuser
        following = await_streaming(candidate, heir.followers, login, timeout_seconds=self.timeout_seconds)
        absent = sorted(set(heir.followers) - set(following))
        synchronous = heir.synchronous
        if absent:
            synchronous = SynchronousReplication.choose(heir.synchronous.mode, following)
        with connect(candidate, login) as connection:
            if absent:
                provisioning.set_synchronous(connection, synchronous)
            committed = asyncio.run(_commit_canary(conninfo(candidate, login), self.timeout_seconds))
            # pg_rewind and restarted replicas read the timeline from the control file.
            connection.execute("SET statement_timeout = 0")
            connection.execute("CHECKPOINT")
        record = require_record(self.state).with_synchronous(synchronous)
        identifier = self.survey().system_identifier
        save_record(self.state, record.led_by(candidate.name, identifier) if identifier else record)
        if absent or not committed:
            problem = (
                f"{' and '.join(absent)} does not stream from it"
                if absent
                else "a test commit was not confirmed in time"
            )
            raise Incomplete(
                f"{candidate.name} is the primary of timeline {timeline} and accepts writes, but {problem}. "
                f"Commits wait for {synchronous.setting() or 'no replica'}. "
                "See the node's log; `manage.py setup_replication` brings a stopped replica back."
            )
        return following


def in_words(error: BaseException) -> str:
    """An error on one line; Ctrl-C too."""
    return " ".join(str(error).split()) or "interrupted."


def has_receiver(node: RecordedNode, credentials: OperatorCredentials) -> bool:
    """Whether the replica is connected to a source."""
    with connect(node, credentials.superuser) as connection:
        return connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone() is not None


def _describe(status: NodeStatus | None) -> str:
    return f"{status.role}, timeline {status.timeline}" if status else "it does not answer"


async def _commit_canary(parameters: dict[str, Any], timeout_seconds: float) -> bool:
    """Commit a transaction that wrote WAL and nothing else. False if it is not confirmed in time."""
    async with await psycopg.AsyncConnection.connect(**parameters) as connection:
        await connection.execute("SET synchronous_commit = on")
        await connection.execute("SELECT pg_current_xact_id()")
        try:
            await asyncio.wait_for(connection.commit(), timeout_seconds)
        except TimeoutError:
            return False
    return True
