"""Rehearses a failover on a local cluster: kills the primary under load, promotes, rejoins, and measures."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from management.candidate import Risks
from management.errors import Incomplete, OperationError, Refused
from management.history.run import run_history
from management.history.verdict import Invariant
from management.patroni import require_no_patroni
from management.promotion import Promotion
from management.record import require_record
from management.rejoin import Rejoin
from management.succession import Succession
from management.survey import read_senders


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What a drill would do."""

    primary: str
    """Will be killed."""
    streaming: tuple[str, ...]
    """The replicas, one of which will be promoted."""
    url: str
    """The application that is loaded meanwhile."""
    load_seconds: float


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a drill showed. RTO is `seconds_without_writes`, RPO is `acknowledged_writes_lost`."""

    at: str
    """When it began, UTC."""
    old_primary: str
    new_primary: str
    timeline: int
    """The new one."""
    operations: int
    """Requests of the load."""
    seconds_without_writes: float
    """The longest time between two acknowledged writes, from the clients' side."""
    promotion_seconds: float
    """From the kill until the new primary had committed and its replicas followed."""
    rejoin_seconds: float
    rejoined_by: str
    failed_reads: int
    acknowledged_writes_lost: int
    violations: dict[str, int]
    """By invariant; empty if all held."""
    doubts: list[str] = field(default_factory=list)
    """Why nothing can be concluded; empty if something can."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, stale or failed."""
        return not self.violations and not self.doubts


@dataclass(frozen=True, slots=True)
class Drill:
    """One rehearsal."""

    succession: Succession
    url: str
    load_seconds: float
    sessions: int

    def plan(self) -> DrillPlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused: The cluster is not in order, or not on this machine: a drill must not be what breaks it.
        """
        succession = self.succession
        record, survey = require_record(succession.state), succession.survey()
        login = succession.credentials.superuser
        require_no_patroni(survey, login)
        if survey.primary is None or survey.writable != [survey.primary]:
            raise Refused(f"{' and '.join(survey.writable) or 'No node'} accepts writes; a drill needs exactly one.")
        if record.handover is not None:
            raise Refused("A switchover was broken off. Finish it first: `manage.py switchover`.")
        if any(record.local(name, succession.state) is None for name in survey.nodes):
            raise Refused("A drill kills the primary's processes, so all nodes must run on this machine.")
        senders = read_senders(record.node(survey.primary), login)
        streaming = tuple(sender.name for sender in senders if sender.state == "streaming")
        away = [name for name in survey.nodes if name not in {survey.primary, *streaming}]
        if away or not streaming:
            raise Refused(
                f"{' and '.join(away) or 'No replica'} does not stream from {survey.primary}. "
                "Bring every replica back before a drill: `manage.py diagnose_replication` says how."
            )
        return DrillPlan(survey.primary, streaming, self.url, self.load_seconds)

    def carry_out(self, plan: DrillPlan) -> DrillReport:
        """Do it, and add the report to the history of drills.

        Raises:
            Incomplete: The promotion or the rejoin did not succeed; says what to run.
        """
        succession, began_at = self.succession, datetime.now(UTC)
        node = succession.record.local(plan.primary, succession.state)
        if node is None:
            raise Refused(f"{plan.primary} does not run on this machine.")
        promotion = Promotion(succession, Risks())
        promotion_seconds = 0.0
        promoted = None

        def fail_over() -> None:
            nonlocal promotion_seconds, promoted
            killed_at = time.monotonic()
            node.kill()
            succession.say(f"{plan.primary} killed under load")
            try:
                promoted = promotion.carry_out(promotion.plan())
            except OperationError as error:
                raise Incomplete(f"{plan.primary} was killed and is not replaced: {error}") from error
            promotion_seconds = time.monotonic() - killed_at

        run = run_history(plan.url, seconds=plan.load_seconds, sessions=self.sessions, during=fail_over)
        assert promoted is not None  # noqa: S101 - run_history has raised otherwise
        rejoin_at = time.monotonic()
        rejoin = Rejoin(succession, plan.primary)
        rejoined = rejoin.carry_out(rejoin.plan())
        verdict = run.report.verdict
        report = DrillReport(
            at=began_at.isoformat(timespec="seconds"),
            old_primary=plan.primary,
            new_primary=promoted.plan.candidate,
            timeline=promoted.timeline,
            operations=verdict.operations,
            seconds_without_writes=round(verdict.seconds_without_writes or 0.0, 3),
            promotion_seconds=round(promotion_seconds, 3),
            rejoin_seconds=round(time.monotonic() - rejoin_at, 3),
            rejoined_by=rejoined.method,
            failed_reads=verdict.count(Invariant.FAILED_READS),
            acknowledged_writes_lost=verdict.count(Invariant.ACKNOWLEDGED_WRITES_LOST),
            violations={invariant.value: found.count for invariant, found in verdict.violations.items()},
            doubts=list(run.report.doubts),
        )
        with succession.state.drills.open("a") as file:
            file.write(json.dumps(asdict(report)) + "\n")
        return report
