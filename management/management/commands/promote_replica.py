"""`manage.py promote_replica`: after the primary has died, make a replica the primary."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import PlannedCommand
from management.candidate import PromotionPlan, Risks
from management.promotion import Promoted, Promotion
from management.succession import Succession


class Command(PlannedCommand[PromotionPlan, Promoted]):
    """Refuses while a primary is or may be alive, and what would lose acknowledged commits."""

    help = "Promote a replica after the primary has died. Refuses while a primary is or may be alive."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument(
            "--node", metavar="NAME", help="the replica to promote (default: the one with the newest data)"
        )
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
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Promotion:
        """With the risks that the operator takes."""
        for name in [*options["assume_fenced"], *([options["node"]] if options["node"] else [])]:
            succession.record.node(name)
        risks = Risks(options["accept_data_loss"], frozenset(options["assume_fenced"]))
        return Promotion(succession, risks, wanted=options["node"])

    def subject(self, plan: PromotionPlan) -> str:
        """The replica."""
        return plan.candidate

    def describe(self, plan: PromotionPlan) -> str:
        """The plan in words, one step a line."""
        if plan.is_promoted:
            return (
                f"Plan: {plan.candidate} is promoted (timeline {plan.timeline}), but that was broken off; finish it:\n"
                f"  {', '.join(plan.followers) or 'nobody'}: follow {plan.candidate}; commit a test transaction"
            )
        loss = "no acknowledged commit is lost" if plan.is_lossless else "acknowledged commits may be lost"
        if plan.lost_bytes:
            loss += f": {plan.lost_bytes} bytes of WAL that another replica has"
        confirming = plan.synchronous.setting() or "empty: it acknowledges commits alone"
        lines = [
            f"Plan: promote {plan.candidate} at {plan.candidate_lsn}, timeline {plan.timeline}; {loss}.",
            *(f"  fence {name}, unless it was a replica" for name in plan.fence),
            f"  {plan.candidate}: synchronous list {confirming}",
            *(f"  {name}: slot on {plan.candidate}, follow it" for name in plan.followers),
            f"  promote {plan.candidate}, commit a test transaction, checkpoint",
        ]
        return "\n".join(lines)
