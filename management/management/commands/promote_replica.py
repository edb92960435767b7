"""`manage.py promote_replica`: after the primary has died, make a replica the primary."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import ClusterCommand, positive_seconds
from management.candidate import PromotionPlan, Risks
from management.credentials import operator_credentials
from management.errors import Incomplete, Refused
from management.exit_codes import ExitCode
from management.output import as_json, as_table
from management.promotion import Promotion
from management.record import require_record
from management.state import StateDirectory
from management.survey import Survey


class Command(ClusterCommand):
    """Surveys, decides, shows the plan, asks, acts, surveys again."""

    help = "Promote a replica after the primary has died. Refuses while a primary is or may be alive."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument(
            "--node", metavar="NAME", help="the replica to promote (default: the one with the newest data)"
        )
        parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
        parser.add_argument("--no-input", action="store_true", help="do not ask before acting")
        parser.add_argument(
            "--accept-data-loss", action="store_true", help="promote although acknowledged commits may be lost"
        )
        parser.add_argument(
            "--assume-fenced",
            action="append",
            default=[],
            metavar="NODE",
            help="you made sure that this silent node cannot accept writes; may be repeated",
        )
        parser.add_argument(
            "--timeout", type=positive_seconds, default=30.0, metavar="SECONDS", help="for each wait (default: 30)"
        )
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Plan, confirm, act."""
        record = require_record(state)
        for name in [*options["assume_fenced"], *([options["node"]] if options["node"] else [])]:
            record.node(name)
        plan = self._promotion(state, options).plan(options["node"])
        is_json = options["format"] == "json"
        if options["dry_run"]:
            self.stdout.write(as_json(plan) if is_json else describe_plan(plan))
            return ExitCode.DONE
        self.stderr.write(describe_plan(plan))
        if not options["no_input"]:
            self.confirm(f"Type {plan.candidate} to promote it: ", plan.candidate)
        with state.lock():
            # The answer may have taken a while: look again before anything is changed.
            promotion = self._promotion(state, options)
            now = promotion.plan(options["node"])
            if now.candidate != plan.candidate:
                raise Refused(
                    f"Meanwhile {now.candidate} would be the one to promote. Nothing was changed; look again."
                )
            done = promotion.carry_out(now, wanted=options["node"])
            survey = promotion.survey()
        self.stdout.write(as_json(done) if is_json else describe_survey(survey))
        if survey.writable != [done.plan.candidate]:
            raise Incomplete(
                f"After the promotion of {done.plan.candidate} these nodes accept writes: {survey.writable or 'none'}. "
                "Stop every other one now."
            )
        return ExitCode.DONE

    def _promotion(self, state: StateDirectory, options: dict[str, Any]) -> Promotion:
        return Promotion(
            record=require_record(state),
            credentials=operator_credentials(state),
            state=state,
            risks=Risks(options["accept_data_loss"], frozenset(options["assume_fenced"])),
            timeout_seconds=options["timeout"],
            say=self.say,
        )


def describe_plan(plan: PromotionPlan) -> str:
    """The plan in words, one step a line."""
    loss = "no acknowledged commit is lost" if plan.is_lossless else "acknowledged commits may be lost"
    if plan.lost_bytes:
        loss += f": {plan.lost_bytes} bytes of WAL that another replica has"
    lines = [
        f"Plan: promote {plan.candidate} at {plan.candidate_lsn}, timeline {plan.timeline}; {loss}.",
        *(f"  fence {name}, unless it was a replica" for name in plan.fence),
        f"  {plan.candidate}: synchronous list {plan.synchronous.setting() or 'empty: it acknowledges commits alone'}",
        *(f"  {name}: slot on {plan.candidate}, follow it" for name in plan.followers),
        f"  promote {plan.candidate}, commit a test transaction, checkpoint",
    ]
    return "\n".join(lines)


def describe_survey(survey: Survey) -> str:
    """The nodes as they are now."""
    rows = [
        (
            name,
            found.status.role if found.status else found.evidence,
            str(found.status.timeline) if found.status else "–",
            str(found.status.lsn) if found.status else "–",
        )
        for name, found in survey.nodes.items()
    ]
    return as_table(("node", "role", "timeline", "LSN"), rows)
