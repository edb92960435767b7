"""`manage.py diagnose_replication`: what is the matter with replication, what it means, and what to do."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from management.base import ClusterCommand, positive_seconds
from management.credentials import operator_credentials
from management.diagnosis.case import Finding, Limits
from management.diagnosis.verdict import Diagnosis, diagnose
from management.examination import examine
from management.exit_codes import ExitCode
from management.lag import Thresholds
from management.output import as_json, as_table, show_bytes, show_seconds
from management.record import require_record
from management.state import StateDirectory


class Command(ClusterCommand):
    """Asks every node everything, judges, and shows the findings, the worst first."""

    help = "Show the topology and what is wrong with it, what that means and what to do. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        self.add_thresholds(parser)
        parser.add_argument(
            "--timeout",
            type=positive_seconds,
            default=5.0,
            metavar="SECONDS",
            help="for each node's answers, and for the test commit (default: 5)",
        )
        parser.add_argument(
            "--no-write", action="store_true", help="commit nothing, so do not time the way to the replicas"
        )
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Examine and judge."""
        record = require_record(state)
        examination = examine(
            record,
            operator_credentials(state).superuser,
            state,
            timeout_seconds=options["timeout"],
            writes=not options["no_write"],
        )
        limits = Limits(Thresholds(options["max_lag_bytes"], options["max_lag_seconds"]))
        diagnosis = diagnose(examination, record, limits)
        self.stdout.write(as_json(diagnosis) if options["format"] == "json" else describe(diagnosis))
        return diagnosis.health.exit_code


def describe(diagnosis: Diagnosis) -> str:
    """The verdict, the topology, and three lines for each finding."""
    rows = [
        (
            node.name,
            node.role,
            str(node.timeline or "–"),
            node.lsn or "–",
            node.source or "–",
            node.sync_state or "–",
            f"{show_bytes(node.replay_lag_bytes)} / {show_seconds(node.replay_lag_seconds)}",
            show_seconds(node.arrival_seconds),
        )
        for node in diagnosis.nodes
    ]
    headings = ("node", "role", "timeline", "LSN", "streams from", "sync", "replay lag", "test commit")
    verdict = f"{diagnosis.health}: {diagnosis.reason}" if diagnosis.reason else str(diagnosis.health)
    return "\n".join([verdict, "", as_table(headings, rows), *map(_describe_finding, diagnosis.findings)])


def _describe_finding(finding: Finding) -> str:
    to_do = "\n         ".join(finding.to_do)
    return f"\n{finding.severity} {finding.code}: {finding.what}\n  means: {finding.meaning}\n     do: {to_do}"
