"""Promotes a replica after the primary has died. Each step looks again before the next one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import psycopg

from management import provisioning
from management.candidate import PromotionPlan, Risks, plan_promotion
from management.connection import connect
from management.errors import Incomplete, OperationError, Unknown
from management.fencing import fence
from management.patroni import require_no_patroni
from management.processes import wait_until
from management.record import require_record, save_record
from management.succession import Succession, has_receiver, in_words
from management.survey import Survey
from routers.lsn import SEGMENT_BYTES, Lsn
from routers.node import NodeStatus

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
    """Replicas that stream from the new primary, which has committed a test transaction."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """One promotion."""

    succession: Succession
    risks: Risks
    wanted: str | None = None
    """The replica to promote. None: the one with the newest data."""

    def plan(self) -> PromotionPlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused, Unknown: It must not be done.
        """
        survey = self.succession.survey()
        require_no_patroni(survey, self.succession.credentials.superuser)
        return self._plan(survey)

    def carry_out(self, plan: PromotionPlan) -> Promoted:
        """Do it.

        Raises:
            Incomplete: Something was changed and a later step failed; says which and what to run.
        """
        try:
            if plan.is_promoted:
                timeline = plan.timeline
                self.succession.prepare(plan)
                self.succession.redirect(plan.followers, plan)
            else:
                self._fence(plan)
                plan = self._isolate(plan)
                timeline = self.succession.promote(plan)
        except (psycopg.Error, OperationError, KeyboardInterrupt) as error:
            raise Incomplete(
                f"No replica is known to be promoted yet: {in_words(error)} Run the command again."
            ) from error
        try:
            streaming = self.succession.settle(plan, timeline)
            writable = self.succession.survey().writable
        except (psycopg.Error, KeyboardInterrupt) as error:
            raise Incomplete(
                f"{plan.candidate} is the primary of timeline {timeline}, but not all was finished: {in_words(error)} "
                "Run the command again to finish."
            ) from error
        if writable != [plan.candidate]:
            raise Incomplete(
                f"After the promotion of {plan.candidate} these nodes accept writes: {writable or 'none'}. "
                "Stop every other one now."
            )
        return Promoted(plan, timeline, streaming)

    def _plan(self, survey: Survey) -> PromotionPlan:
        return plan_promotion(survey, require_record(self.succession.state), self.risks, wanted=self.wanted)

    def _fence(self, plan: PromotionPlan) -> None:
        """An accidental start of the old primary must come up read-only."""
        record, state, say = self.succession.record, self.succession.state, self.succession.say
        old_primaries = set()
        for name in plan.fence:
            node = record.local(name, state)
            if node is None and record.primary not in {None, name}:
                continue
            if node is None:
                say(f"{name}: on its host, before anybody starts it again: touch $PGDATA/standby.signal")
                old_primaries.add(name)
            elif node.is_initialised and not node.is_standby:
                # It is silent, and the operator says that it is gone: see to it.
                fence(node, record.host(), say=say)
                old_primaries.add(name)
        save_record(state, record.with_fenced(old_primaries))

    def _isolate(self, plan: PromotionPlan) -> PromotionPlan:
        """Cut the replicas from the old primary, so that their positions stand still, and decide again."""
        for _ in range(3):
            self._prepare(plan)
            after = self._plan(self._settled_survey())
            if (after.candidate, after.followers) == (plan.candidate, plan.followers):
                return after
            plan = after
        raise Incomplete("The replicas' positions keep changing: something still writes. Find it and run this again.")

    def _settled_survey(self) -> Survey:
        """The survey once every position stands still: a restarted replica still replays what it has.

        Raises:
            Unknown: They still move after the timeout.
        """
        timeout_seconds = self.succession.timeout_seconds
        deadline = time.monotonic() + timeout_seconds
        before = self.succession.survey()
        if all(_has_replayed_all(status) for status in before.replicas.values()):
            return before
        while True:
            time.sleep(_STILL_SECONDS)
            now = self.succession.survey()
            if _positions(now) == _positions(before):
                return now
            if time.monotonic() > deadline:
                raise Unknown(f"The positions of the replicas still move after {timeout_seconds:.0f} s.")
            before = now

    def _prepare(self, plan: PromotionPlan) -> None:
        succession = self.succession
        candidate = succession.record.node(plan.candidate)
        succession.prepare(plan)
        succession.redirect(plan.followers, plan)
        with connect(candidate, succession.credentials.superuser) as connection:
            provisioning.set_parameter(connection, "primary_conninfo", "")
        wait_until(lambda: not has_receiver(candidate, succession.credentials), timeout_seconds=_CUT_SECONDS)


def _has_replayed_all(status: NodeStatus) -> bool:
    """Whether a replica that receives nothing any more has replayed all it received.

    After a restart the received position is the start of a segment, and tells nothing.
    """
    received = status.receive_lsn
    return received is not None and received.value % SEGMENT_BYTES != 0 and status.lsn >= received


def _positions(survey: Survey) -> dict[str, tuple[Lsn, Lsn | None]]:
    return {name: (status.lsn, status.receive_lsn) for name, status in survey.replicas.items()}
