"""`manage.py setup_replication`: a primary and its replicas, on this machine or on existing servers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from management.base import ClusterCommand, positive_seconds
from management.credentials import Login, monitor_login, operator_credentials
from management.errors import Refused
from management.existing import ExistingSetup, setup_existing
from management.exit_codes import ExitCode
from management.local_plan import BASE_PORT, LocalSetup, SetupPlan, preview_local
from management.output import as_json
from management.record import RecordedNode, load_record
from management.replicas import STREAMING_SECONDS
from management.setup import setup_local
from management.state import StateDirectory
from management.synchronous import SyncMode
from routers.conf import PRIMARY_ALIAS, routing_settings


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
            help="whose confirmation a commit waits for: the first replica's, any one's, or nobody's (default: quorum)",
        )

        parser.add_argument(
            "--reclone", metavar="NODE", help="put aside the data of a fenced node or replica and clone it anew"
        )
        parser.add_argument(
            "--existing",
            action="store_true",
            help="prepare the servers of HIGHLOAD_NODES instead of local nodes; prints what is to do on hosts",
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would be done and change nothing")
        parser.add_argument(
            "--timeout",
            type=positive_seconds,
            default=STREAMING_SECONDS,
            metavar="SECONDS",
            help=f"for the replicas to catch up (default: {STREAMING_SECONDS:g})",
        )
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Local nodes, or existing servers."""
        if options["existing"]:
            return self._existing(state, options)
        wanted = LocalSetup(
            replicas=options["replicas"],
            base_port=options["base_port"],
            sync=options["sync"],
            reclone=options["reclone"],
        )
        plan = preview_local(wanted, load_record(state), state)
        is_json = options["format"] == "json"
        if options["dry_run"]:
            self.stdout.write(as_json(plan) if is_json else describe_plan(plan))
            return ExitCode.DONE
        self.say(describe_plan(plan))
        record = setup_local(wanted, state, say=self.say, timeout_seconds=options["timeout"])
        if is_json:
            self.stdout.write(as_json(record))
            return ExitCode.DONE
        self.stdout.write(f"{len(record.nodes)} nodes in {state.root}; credentials in {state.operator_env}")
        return ExitCode.DONE

    def _existing(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        for name in ("replicas", "base_port", "reclone"):
            if options[name] is not None:
                raise Refused(f"--{name.replace('_', '-')} is for local nodes; existing servers are in HIGHLOAD_NODES.")
        result = setup_existing(self._wanted(state, options), state, say=self.say)
        if options["format"] == "json":
            self.stdout.write(as_json(result))
            return ExitCode.INCOMPLETE if result.to_do else ExitCode.DONE
        streaming = ", ".join(result.streaming) or "none"
        self.stdout.write(f"primary {result.primary}; replicas that stream: {streaming}")
        self.stdout.write("\n".join(result.to_do))
        return ExitCode.INCOMPLETE if result.to_do else ExitCode.DONE

    def _wanted(self, state: StateDirectory, options: dict[str, Any]) -> ExistingSetup:
        databases = settings.DATABASES
        aliases = routing_settings().nodes
        if not aliases:
            raise Refused("HIGHLOAD_NODES is not set. It lists the servers: pg1=HOST:PORT,pg2=HOST:PORT")
        default = databases[PRIMARY_ALIAS]
        if not default["PASSWORD"]:
            raise Refused("HIGHLOAD_DB_PASSWORD is not set; the application's role needs one.")
        return ExistingSetup(
            nodes=tuple(
                RecordedNode(alias, databases[alias]["HOST"], int(databases[alias]["PORT"])) for alias in aliases
            ),
            credentials=operator_credentials(state),
            application=Login(default["USER"], default["PASSWORD"]),
            monitor=monitor_login(state),
            database=default["NAME"],
            sync=options["sync"],
            timeout_seconds=options["timeout"],
            dry_run=options["dry_run"],
        )


def describe_plan(plan: SetupPlan) -> str:
    """The plan in words, one node a line."""
    lines = [f"Plan: bring up the cluster in {plan.directory}, synchronous replication {plan.sync}."]
    return "\n".join([*lines, *(f"  {step.node}: {step.step}" for step in plan.steps)])
