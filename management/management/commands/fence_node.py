"""`manage.py fence_node`: keep a node from accepting writes, or out of service."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import PlannedCommand
from management.fencing import FencePlan, Fencing
from management.succession import Succession


class Command(PlannedCommand[FencePlan, FencePlan]):
    """For a returned old primary, a frozen node, or a replica to be taken away."""

    help = "Stop a node, frozen or alive, and make its next start read-only. Commits no longer wait for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("node", metavar="NODE", help="the node to fence")
        parser.add_argument(
            "--accept-outage", action="store_true", help="fence the primary, although nobody will accept writes then"
        )
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Fencing:
        """With the risk that the operator takes."""
        succession.record.node(options["node"])
        return Fencing(succession, options["node"], accepts_outage=options["accept_outage"])

    def subject(self, plan: FencePlan) -> str:
        """The node."""
        return plan.node

    def describe(self, plan: FencePlan) -> str:
        """The plan in words, one step a line."""
        lines = [f"Plan: fence {plan.node} ({plan.found})."]
        if plan.is_primary:
            lines.append("  no node will accept writes until another is promoted")
        if plan.synchronous is not None:
            lines.append(f"  commits will wait for {plan.synchronous.setting() or 'nobody'}")
        lines.append(f"  stop {plan.node}; its next start is read-only; set-up leaves it stopped")
        return "\n".join(lines)
