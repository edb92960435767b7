"""`manage.py unfence_node`: let a fenced replica follow again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import PlannedCommand
from management.errors import Refused
from management.rejoin import Method, Rejoin, Rejoined, RejoinPlan
from management.succession import Succession


class Command(PlannedCommand[RejoinPlan, Rejoined]):
    """The reverse of fence_node, for a replica. What was a primary has to rejoin."""

    help = "Let a fenced replica follow the primary again, with its data as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("node", metavar="NODE", help="the fenced replica")
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Rejoin:
        """Only as it is: nothing is copied or put aside."""
        if not succession.record.node(options["node"]).fenced:
            raise Refused(f"{options['node']} is not fenced. Nothing was changed.")
        return Rejoin(succession, options["node"], Method.FOLLOW)

    def subject(self, plan: RejoinPlan) -> str:
        """The node."""
        return plan.node

    def describe(self, plan: RejoinPlan) -> str:
        """The plan in words, one step a line."""
        lines = [
            f"Plan: let {plan.node} follow {plan.primary} (timeline {plan.timeline}) again.",
            f"  slot on {plan.primary}; start {plan.node}; see it stream; put it on the synchronous list",
        ]
        return "\n".join(lines)
