"""`manage.py verify_history`: load the running system with many sessions and check that it kept its promises."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from management.base import ClusterCommand, positive_seconds
from management.errors import Refused
from management.exit_codes import ExitCode
from management.history.driver import MAX_SESSIONS
from management.history.operations import Operation, Outcome
from management.history.report import Report
from management.history.run import RunOptions, run_history
from management.history.verdict import Bounds
from management.output import as_json, as_table, show_seconds
from management.server import running_server
from management.state import StateDirectory


def session_count(text: str) -> int:
    """How many sessions, on the command line.

    >>> session_count("8")
    8
    """
    count = int(text)
    if not 1 <= count <= MAX_SESSIONS:
        raise ArgumentTypeError(f"{text} is not between 1 and {MAX_SESSIONS}")
    return count


class Command(ClusterCommand):
    """Loads, reads the final state, judges, and judges the judge."""

    help = (
        "Load the running system over HTTP, record every operation, and check the record: no acknowledged write "
        "lost, no session going back in time. Registers some people and leaves them. Exit 1 on a violation."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument(
            "--url", metavar="URL", help="the application (default: the server of this state directory)"
        )
        parser.add_argument(
            "--seconds", type=positive_seconds, default=60.0, metavar="S", help="how long to load it (default: 60)"
        )
        parser.add_argument(
            "--sessions",
            type=session_count,
            default=8,
            metavar="N",
            help=f"sessions at a time (default: 8, at most {MAX_SESSIONS})",
        )
        parser.add_argument(
            "--max-seconds-without-writes",
            type=positive_seconds,
            metavar="S",
            help="a longer time without an acknowledged write is a violation (default: only measured)",
        )
        parser.add_argument(
            "--ignore-tokens", action="store_true", help="control: clients that do not send their tokens back"
        )
        parser.add_argument(
            "--expect-violations", action="store_true", help="control: exit 0 only if a violation is found"
        )
        parser.add_argument("--history", type=Path, metavar="FILE", help="write the operations there as JSON lines")
        parser.add_argument("--seed", type=int, metavar="N", help="of the mix of operations (default: random)")
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Run and show."""
        if options["history"] is not None:
            # Now rather than after the load: it may be in a place where nobody may write.
            options["history"].touch()
        run = run_history(
            options["url"] or _url_of(state),
            seconds=options["seconds"],
            sessions=options["sessions"],
            options=RunOptions(
                sends_tokens=not options["ignore_tokens"],
                seed=options["seed"],
                bounds=Bounds(options["max_seconds_without_writes"]),
            ),
            say=self.say,
        )
        if options["history"] is not None:
            write_history(options["history"], run.history)
        self.stdout.write(as_json(run.report) if options["format"] == "json" else describe(run.report))
        return run.report.exit_code(expects_violations=options["expect_violations"])


def _url_of(state: StateDirectory) -> str:
    running = running_server(state)
    if running is None:
        raise Refused(f"No application runs for {state.root}. Start it with deploy/start-all, or give --url.")
    return f"http://127.0.0.1:{running.options.port}"


def write_history(file: Path, history: Sequence[Operation]) -> None:
    """One operation a line, in the order of their beginning."""
    with file.open("w") as lines:
        lines.writelines(json.dumps(asdict(operation)) + "\n" for operation in history)


def describe(report: Report) -> str:
    """The report for people: what was done, what was found, what that is worth."""
    verdict = report.verdict
    outcomes = [str(outcome) for outcome in Outcome]
    done = [
        (
            kind,
            *(str(counts.get(outcome, 0)) for outcome in outcomes),
            show_seconds(verdict.seconds_per_operation[kind]),
        )
        for kind, counts in verdict.by_kind.items()
    ]
    found = [
        (str(invariant), str(finding.count), str(report.controls[invariant]))
        for invariant, finding in verdict.findings.items()
    ]
    examples = [
        f"  {invariant}: {example}" for invariant, finding in verdict.findings.items() for example in finding.examples
    ]
    lines = [
        f"{verdict.operations} operations in {report.seconds:.0f} s{', interrupted' if report.is_interrupted else ''}",
        as_table(("operation", *outcomes, "median"), done),
        "",
        as_table(("invariant", "violations", "control"), found),
        *examples,
        "",
        f"longest time without writes {show_seconds(verdict.seconds_without_writes)}, "
        f"{verdict.refused_writes} writes refused, {verdict.unknown_writes} unknown, "
        f"{verdict.flagged_reads} reads flagged by the server as possibly stale",
        *(f"unknown: {doubt}" for doubt in report.doubts),
        *([] if report.doubts else ["clean" if verdict.is_clean else "violations found"]),
    ]
    return "\n".join(lines)
