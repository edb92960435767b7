"""`manage.py check_lag`: how far behind each replica is, and whether that is too far."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

import psycopg

from management.base import ClusterCommand, positive_seconds
from management.credentials import monitor_login
from management.exit_codes import ExitCode
from management.lag import LagReport, Thresholds, judge_lag
from management.output import as_json, as_table, show_bytes, show_seconds
from management.record import require_record
from management.state import StateDirectory
from management.survey import read_senders, take_survey


class Command(ClusterCommand):
    """Shows replication lag, once or repeatedly; the exit code says whether it is within the thresholds."""

    help = "Show each replica's state and lag. Exit 1 when a replica is missing or beyond a threshold."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        self.add_thresholds(parser)
        parser.add_argument(
            "--watch", type=positive_seconds, metavar="SECONDS", help="repeat until Ctrl-C; exit by the last look"
        )
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Look and judge."""
        thresholds = Thresholds(options["max_lag_bytes"], options["max_lag_seconds"])
        report = self._look(state, thresholds)
        self._show(report, options["format"])
        try:
            while options["watch"]:
                time.sleep(options["watch"])
                report = self._look(state, thresholds)
                self._show(report, options["format"])
        except KeyboardInterrupt:
            pass
        return report.exit_code

    def _look(self, state: StateDirectory, thresholds: Thresholds) -> LagReport:
        record, login = require_record(state), monitor_login(state)
        survey = take_survey(record, login, state)
        try:
            senders = read_senders(record.node(survey.primary), login) if survey.primary else []
        except psycopg.Error as error:
            # It answered the survey and then no more.
            self.say(f"{survey.primary}: {' '.join(str(error).split())}")
            senders = []
        fenced = [node.name for node in record.nodes if node.fenced]
        return judge_lag(survey, senders, thresholds, fenced=fenced)

    def _show(self, report: LagReport, form: str) -> None:
        self.stdout.write(as_json(report) if form == "json" else describe(report))
        self.stdout.flush()


def describe(report: LagReport) -> str:
    """The report as a table and a verdict."""
    rows = [
        (
            replica.name,
            replica.state or "–",
            replica.sync_state or "–",
            replica.replay_lsn or "–",
            *(
                f"{show_bytes(size)} / {show_seconds(seconds)}"
                for size, seconds in (
                    (replica.write_lag_bytes, replica.write_lag_seconds),
                    (replica.flush_lag_bytes, replica.flush_lag_seconds),
                    (replica.replay_lag_bytes, replica.replay_lag_seconds),
                )
            ),
            replica.health,
        )
        for replica in report.replicas
    ]
    headings = ("replica", "state", "sync", "replay LSN", "write lag", "flush lag", "replay lag", "health")
    title = f"primary {report.primary or 'none'} at {report.primary_lsn or '–'}, timeline {report.timeline}"
    verdict = f"{report.health}: {report.reason}" if report.reason else str(report.health)
    return f"{as_table(headings, rows, title=title)}\n{verdict}"
