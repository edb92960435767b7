"""`manage.py setup_replication`: a primary and its replicas, on this machine or on existing servers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import ClusterCommand
from management.exit_codes import ExitCode
from management.setup import BASE_PORT, LocalSetup, setup_local
from management.state import StateDirectory
from management.synchronous import SyncMode


class Command(ClusterCommand):
    """Set up streaming replication, or continue a set-up. Never initialises what exists."""

    help = "Set up a primary and its replicas, or start those that exist. Safe to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--replicas", type=int, metavar="N", help="number of replicas (default: 2)")
        parser.add_argument(
            "--base-port",
            type=int,
            metavar="N",
            help=f"port of the first node, the others follow (default: {BASE_PORT})",
        )
        parser.add_argument(
            "--sync",
            type=SyncMode,
            choices=list(SyncMode),
            help="whose confirmation a commit waits for: the first replica's, any one's, or nobody's (default: first)",
        )

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Local nodes."""
        wanted = LocalSetup(replicas=options["replicas"], base_port=options["base_port"], sync=options["sync"])
        record = setup_local(wanted, state, say=self.say)
        self.stdout.write(f"{len(record.nodes)} nodes in {state.root}; credentials in {state.operator_env}")
        return ExitCode.DONE
