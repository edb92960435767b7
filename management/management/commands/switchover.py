"""`manage.py switchover`: hand the primary over to a replica, as planned, losing nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from management.base import PlannedCommand, non_negative_bytes
from management.handover import HandoverPlan
from management.succession import Succession
from management.switchover import SwitchedOver, Switchover

MAX_LAG_BYTES: Final = 16 * 1024 * 1024
"""One segment of WAL: replayed in a moment."""


class Command(PlannedCommand[HandoverPlan, SwitchedOver]):
    """The old primary becomes a replica of the new one."""

    help = "Hand the primary over to a replica. Loses nothing; writes wait for about a second."
    interrupted = "Interrupted. Run the command again: it goes on where it was."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--node", metavar="NAME", help="the next primary (default: the replica least behind)")
        parser.add_argument(
            "--max-lag-bytes",
            type=non_negative_bytes,
            default=MAX_LAG_BYTES,
            metavar="BYTES",
            help=f"refuse a replica further behind (default: {MAX_LAG_BYTES})",
        )
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Switchover:
        """To the replica that is asked for."""
        return Switchover(succession, options["node"], options["max_lag_bytes"])

    def subject(self, plan: HandoverPlan) -> str:
        """The next primary."""
        return plan.candidate

    def describe(self, plan: HandoverPlan) -> str:
        """The plan in words, one step a line."""
        begin = (
            f"Plan: finish the switchover from {plan.old_primary} to {plan.candidate} that was broken off."
            if plan.is_continued
            else f"Plan: hand over from {plan.old_primary} to {plan.candidate}, {plan.lag_bytes} bytes behind."
        )
        confirming = plan.synchronous.setting() or "empty: it acknowledges commits alone"
        lines = [
            begin,
            f"  {plan.candidate}: slots for {', '.join(plan.followers)}; synchronous list {confirming}",
            f"  stop {plan.old_primary}; go on only if {plan.candidate} has all it wrote, else start it again",
            *(f"  {name}: follow {plan.candidate}" for name in plan.redirected),
            f"  promote {plan.candidate}; start {plan.old_primary} as its replica",
            "  commit a test transaction, checkpoint",
        ]
        return "\n".join(lines)
