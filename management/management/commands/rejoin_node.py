"""`manage.py rejoin_node`: bring a fenced, stopped or lost node back as a replica."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import PlannedCommand
from management.rejoin import Method, Rejoin, Rejoined, RejoinPlan
from management.succession import Succession


class Command(PlannedCommand[RejoinPlan, Rejoined]):
    """Refuses to touch a directory unless it is proven not to be the writable node's."""

    help = "Bring a node back as a replica: by pg_rewind if it was a primary, by a new clone if that fails."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("node", metavar="NODE", help="the node to bring back")
        parser.add_argument(
            "--reclone", action="store_true", help="take a new base backup at once; the old data is put aside"
        )
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Rejoin:
        """By the gentlest method that may work, unless a clone is asked for."""
        succession.record.node(options["node"])
        return Rejoin(succession, options["node"], Method.RECLONE if options["reclone"] else None)

    def subject(self, plan: RejoinPlan) -> str:
        """The node."""
        return plan.node

    def describe(self, plan: RejoinPlan) -> str:
        """The plan in words, one step a line."""
        how = {
            Method.FOLLOW: "start it as it is: it was a replica",
            Method.REWIND: "stop it, keep the WAL that only it has, pg_rewind; if it does not follow then, clone it",
            Method.RECLONE: "put its data aside, clone it",
        }
        has = f"timeline {plan.node_timeline}" if plan.node_timeline is not None else "no data"
        lines = [
            f"Plan: let {plan.node} ({has}) follow {plan.primary} (timeline {plan.timeline}).",
            f"  {how[plan.method]}",
            f"  slot on {plan.primary}; start {plan.node}; see it stream; put it on the synchronous list",
        ]
        return "\n".join(lines)
