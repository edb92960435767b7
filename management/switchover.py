"""Hands a living primary over to a replica, as planned: nothing is lost, and writes wait for about a second.

The old primary is stopped in order, which sends every replica all it has; only then, and only if the
candidate has it all, is the candidate promoted. Otherwise the old primary is started again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import psycopg

from management.connection import connect
from management.control_data import read_control_data
from management.errors import Incomplete, OperationError, Refused
from management.handover import HandoverPlan, plan_handover
from management.local_node import LocalNode
from management.patroni import require_no_patroni
from management.processes import wait_until
from management.record import Handover, require_record, save_record
from management.replicas import build_replicas, start
from management.succession import Succession, in_words
from management.survey import read_senders
from routers.lsn import Lsn
from routers.node import NodeStatus

_RECEIVE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class SwitchedOver:
    """What a switchover did."""

    plan: HandoverPlan
    timeline: int
    """The new one."""
    streaming: tuple[str, ...]
    """Replicas that stream from the new primary, which has committed a test transaction."""


@dataclass(frozen=True, slots=True)
class Switchover:
    """One switchover."""

    succession: Succession
    wanted: str | None
    max_lag_bytes: int

    def plan(self) -> HandoverPlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused: It must not be done.
        """
        succession = self.succession
        survey = succession.survey()
        login = succession.credentials.superuser
        require_no_patroni(survey, login)
        senders = read_senders(survey.nodes[survey.primary].node, login) if survey.primary else []
        record = require_record(succession.state)
        plan = plan_handover(survey, senders, record, wanted=self.wanted, max_lag_bytes=self.max_lag_bytes)
        self._local(plan.old_primary)
        return plan

    def carry_out(self, plan: HandoverPlan) -> SwitchedOver:
        """Do it.

        Raises:
            Refused: The candidate did not get all; the old primary runs again.
            Incomplete: Something was changed and a later step failed; says which and what to run.
        """
        succession = self.succession
        try:
            if plan.is_promoted:
                timeline = plan.timeline
                succession.prepare(plan)
                succession.redirect(plan.redirected, plan)
            else:
                timeline = self._hand_over(plan)
            self._follow_with_old_primary(plan)
            streaming = succession.settle(plan, timeline)
        except Refused:
            raise
        except (psycopg.Error, OperationError, KeyboardInterrupt) as error:
            raise Incomplete(
                f"The switchover from {plan.old_primary} to {plan.candidate} was broken off: {in_words(error)} "
                "Run the command again to finish it."
            ) from error
        save_record(succession.state, replace(require_record(succession.state), handover=None))
        return SwitchedOver(plan, timeline, streaming)

    def _hand_over(self, plan: HandoverPlan) -> int:
        """The time without writes: the new timeline."""
        self._stop_old_primary(plan)
        self._require_everything_received(plan)
        self.succession.redirect(plan.redirected, plan)
        return self.succession.promote(plan)

    def _stop_old_primary(self, plan: HandoverPlan) -> None:
        """All that can be done before writes stop is done before."""
        succession, node = self.succession, self._local(plan.old_primary)
        if not plan.is_continued:
            try:
                succession.prepare(plan)
            except psycopg.Error as error:
                raise Refused(
                    f"{plan.candidate} cannot be prepared: {in_words(error)} {plan.old_primary} goes on as the primary."
                ) from error
            with connect(succession.record.node(plan.old_primary), succession.credentials.superuser) as connection:
                # The stop then has little left to write.
                connection.execute("SELECT set_config('statement_timeout', '0', false)")
                connection.execute("CHECKPOINT")
            begun = Handover(plan.old_primary, plan.candidate)
            save_record(succession.state, replace(require_record(succession.state), handover=begun))
            succession.say(f"{plan.old_primary}: checkpoint done; writes stop now")
        if node.stop(timeout_seconds=succession.timeout_seconds):
            succession.say(f"{plan.old_primary} stopped")

    def _require_everything_received(self, plan: HandoverPlan) -> None:
        """The end of the old primary's WAL is the record of its last checkpoint.

        Raises:
            Refused: The candidate lacks it; the old primary runs again.
        """
        succession, node = self.succession, self._local(plan.old_primary)
        host = succession.record.host()
        control = read_control_data(node.data_dir, host)
        if control.state == "shut down" and wait_until(
            lambda: _received(self._status(plan.candidate)) > control.checkpoint_lsn, timeout_seconds=_RECEIVE_SECONDS
        ):
            node.fence(host)
            succession.say(f"{plan.candidate} has everything; the next start of {plan.old_primary} is read-only")
            return
        (node.data_dir / "standby.signal").unlink(missing_ok=True)
        start(node, host, say=succession.say)
        save_record(succession.state, replace(require_record(succession.state), handover=None))
        raise Refused(
            f"{plan.candidate} did not receive all that {plan.old_primary} wrote, up to {control.checkpoint_lsn} "
            f"(its state: {control.state}). {plan.old_primary} is the primary again; nothing is lost."
        )

    def _follow_with_old_primary(self, plan: HandoverPlan) -> None:
        succession, node = self.succession, self._local(plan.old_primary)
        built = build_replicas([node], plan.candidate, succession.record, succession.credentials, say=succession.say)
        for name, problem in built.failed.items():
            raise OperationError(f"{plan.candidate} is the primary, but {name} does not follow it: {problem}")

    def _status(self, name: str) -> NodeStatus | None:
        return self.succession.survey().nodes[name].status

    def _local(self, name: str) -> LocalNode:
        """The old primary's files and process.

        Raises:
            Refused: It runs elsewhere.
        """
        node = self.succession.record.local(name, self.succession.state)
        if node is None:
            raise Refused(
                f"{name} does not run on this machine, so it cannot be stopped from here. On its host: "
                "pg_ctl stop --mode=fast && touch $PGDATA/standby.signal; then `manage.py promote_replica` here."
            )
        return node


def _received(status: NodeStatus | None) -> Lsn:
    return max(status.lsn, status.receive_lsn or Lsn(0)) if status else Lsn(0)
