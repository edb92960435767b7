"""Promotes a replica after the primary has died. Each step looks again before the next one.

Order: what the candidate needs to accept commits is set before it is promoted. An inherited list of
synchronous replicas would hang its first commit for ever, and without slots nobody could follow it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from management import provisioning
from management.candidate import PromotionPlan, Risks, plan_promotion
from management.connection import connect, conninfo, redirected
from management.credentials import OperatorCredentials
from management.errors import Incomplete, OperationError, Unknown
from management.processes import wait_until
from management.record import ClusterRecord, RecordedNode, require_record, save_record
from management.state import StateDirectory
from management.survey import Survey, await_streaming, take_survey
from management.synchronous import SynchronousReplication
from management.talk import Say
from routers.lsn import Lsn
from routers.node import NodeStatus, Role

_CUT_SECONDS: Final = 5.0
_STILL_SECONDS: Final = 0.3
"""Between two looks at positions that must not move; replay shows its progress far more often."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promotion did."""

    plan: PromotionPlan
    timeline: int
    """The new one."""
    streaming: tuple[str, ...]
    """Replicas that stream from the new primary."""
    canary_committed: bool
    """Whether a commit went through, confirmed as the synchronous list asks."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """One promotion: the cluster, the rights, and how long each wait may take."""

    record: ClusterRecord
    credentials: OperatorCredentials
    state: StateDirectory
    risks: Risks
    timeout_seconds: float
    say: Say

    def survey(self) -> Survey:
        """Ask every node."""
        return take_survey(self.record, self.credentials.superuser, self.state)

    def plan(self, wanted: str | None) -> PromotionPlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused, Unknown: It must not be done.
        """
        return plan_promotion(self.survey(), self.record, self.risks, wanted=wanted)

    def carry_out(self, plan: PromotionPlan, *, wanted: str | None) -> Promoted:
        """Do it.

        Raises:
            Incomplete: Something was changed and a later step failed; says which and what to run.
        """
        try:
            self._fence(plan)
            plan = self._isolate(plan, wanted)
            candidate = self.record.node(plan.candidate)
            timeline = self._promote(candidate, plan)
        except (psycopg.Error, OperationError, KeyboardInterrupt) as error:
            why = " ".join(str(error).split()) or "interrupted."
            raise Incomplete(f"No replica is known to be promoted yet: {why} Run the command again.") from error
        try:
            return self._settle(candidate, plan, timeline)
        except (psycopg.Error, KeyboardInterrupt) as error:
            why = " ".join(str(error).split()) or "interrupted."
            raise Incomplete(
                f"{plan.candidate} is the primary of timeline {timeline}, but not all was finished: {why} "
                "Run `manage.py setup_replication` to finish."
            ) from error

    def _fence(self, plan: PromotionPlan) -> None:
        """An accidental start of the old primary must come up read-only."""
        old_primaries = set()
        for name in plan.fence:
            node = self.record.local(name, self.state)
            if node is None and self.record.primary not in {None, name}:
                continue
            if node is None:
                self.say(f"{name}: on its host, before anybody starts it again: touch $PGDATA/standby.signal")
                old_primaries.add(name)
            elif node.is_initialised and not node.is_standby:
                if node.pid() is not None:
                    # The operator says that it is gone, and it is silent: see to it.
                    node.kill()
                    self.say(f"{name} killed")
                node.fence(self.record.host())
                self.say(f"{name} fenced: its next start is read-only")
                old_primaries.add(name)
        save_record(self.state, self.record.with_fenced(old_primaries))

    def _isolate(self, plan: PromotionPlan, wanted: str | None) -> PromotionPlan:
        """Cut the replicas from the old primary, so that their positions stand still, and decide again."""
        for _ in range(3):
            self._prepare(plan)
            survey = self._settled_survey(plan)
            after = plan_promotion(survey, require_record(self.state), self.risks, wanted=wanted)
            if (after.candidate, after.followers) == (plan.candidate, plan.followers):
                return after
            plan = after
        raise Incomplete("The replicas' positions keep changing: something still writes. Find it and run this again.")

    def _settled_survey(self, plan: PromotionPlan) -> Survey:
        """The survey once every position stands still: a restarted replica still replays what it has.

        Raises:
            Unknown: They still move after the timeout.
        """
        deadline = time.monotonic() + self.timeout_seconds
        before = self.survey()
        while True:
            time.sleep(_STILL_SECONDS)
            now = self.survey()
            if _positions(now) == _positions(before):
                return now
            if time.monotonic() > deadline:
                raise Unknown(f"The positions of the replicas still move after {self.timeout_seconds:.0f} s.")
            before = now

    def _prepare(self, plan: PromotionPlan) -> None:
        candidate = self.record.node(plan.candidate)
        with connect(candidate, self.credentials.superuser) as connection:
            source = provisioning.read_primary_conninfo(connection)
            provisioning.set_parameter(connection, "primary_conninfo", "")
            provisioning.set_synchronous(connection, plan.synchronous)
            for name in plan.followers:
                provisioning.ensure_slot(connection, name)
        self.say(f"{plan.candidate}: slots made, synchronous list is now {plan.synchronous.setting() or 'empty'}")
        for name in plan.followers:
            with connect(self.record.node(name), self.credentials.superuser) as connection:
                target = redirected(provisioning.read_primary_conninfo(connection) or source, candidate, name)
                provisioning.follow(connection, conninfo=target, slot=name)
            self.say(f"{name} follows {plan.candidate}")
        with connect(candidate, self.credentials.superuser) as connection:
            wait_until(lambda: not _has_receiver(connection), timeout_seconds=_CUT_SECONDS)

    def _promote(self, candidate: RecordedNode, plan: PromotionPlan) -> int:
        with connect(candidate, self.credentials.superuser) as connection:
            connection.execute("SELECT set_config('statement_timeout', '0', false)")
            # False means a timeout or a failure alike; what counts is what the node says afterwards.
            connection.execute("SELECT pg_promote(true, %s)", [max(1, int(self.timeout_seconds))])
        status = self.survey().nodes[plan.candidate].status
        if status is None or status.role is not Role.PRIMARY or status.timeline <= plan.timeline:
            raise OperationError(f"{plan.candidate} did not become the primary: {_describe(status)}")
        self.say(f"{plan.candidate} is the primary of timeline {status.timeline}")
        return status.timeline

    def _settle(self, candidate: RecordedNode, plan: PromotionPlan, timeline: int) -> Promoted:
        """See that the others stream and that a commit goes through; record it all."""
        login = self.credentials.superuser
        following = await_streaming(candidate, plan.followers, login, timeout_seconds=self.timeout_seconds)
        absent = sorted(set(plan.followers) - set(following))
        synchronous = plan.synchronous
        if absent:
            synchronous = SynchronousReplication.choose(plan.synchronous.mode, following)
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
        return Promoted(plan, timeline, following, committed)


def _positions(survey: Survey) -> dict[str, tuple[Lsn, Lsn | None]]:
    return {name: (status.lsn, status.receive_lsn) for name, status in survey.replicas.items()}


def _has_receiver(connection: psycopg.Connection[Any]) -> bool:
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
