"""`manage.py drill_failover`: rehearse the death of the primary, and see what it costs."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from management.base import PlannedCommand, positive_seconds
from management.drill import Drill, DrillPlan, DrillReport
from management.errors import Refused
from management.exit_codes import ExitCode
from management.output import as_table
from management.server import running_server
from management.succession import Succession
from management.survey import Survey

LOAD_SECONDS: Final = 15.0
SESSIONS: Final = 4


class Command(PlannedCommand[DrillPlan, DrillReport]):
    """Kills, promotes, rejoins, reports; the report is also kept."""

    help = (
        "Rehearse a failover of the local cluster: kill the primary under load, promote a replica, let the old primary "
        "rejoin. Reports what clients saw and appends it to drills.jsonl. Exit 1 if anything was lost or failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument(
            "--url", metavar="URL", help="the application (default: the server of this state directory)"
        )
        parser.add_argument(
            "--seconds",
            type=positive_seconds,
            default=LOAD_SECONDS,
            metavar="S",
            help=f"how long to load it (default: {LOAD_SECONDS:g})",
        )
        super().add_arguments(parser)

    def operation(self, succession: Succession, options: dict[str, Any]) -> Drill:
        """On the running application."""
        running = running_server(succession.state)
        if options["url"] is None and running is None:
            raise Refused(f"No application runs for {succession.state.root}. Start it, or name it with --url.")
        url = options["url"] or f"http://127.0.0.1:{running.options.port if running else 0}"
        return Drill(succession, url, options["seconds"], SESSIONS)

    def subject(self, plan: DrillPlan) -> str:
        """The node that dies."""
        return plan.primary

    def describe(self, plan: DrillPlan) -> str:
        """The plan in words, one step a line."""
        lines = [
            f"Plan: load {plan.url} for {plan.load_seconds:g} s with {SESSIONS} sessions (they register people).",
            f"  kill -9 {plan.primary}; writes fail until a replica is promoted",
            f"  promote one of {', '.join(plan.streaming)}",
            f"  let {plan.primary} rejoin",
        ]
        return "\n".join(lines)

    def describe_result(self, done: DrillReport, survey: Survey) -> str:
        """The figures, then the nodes."""
        rows = [
            ("seconds without writes (RTO)", f"{done.seconds_without_writes:.2f}"),
            ("acknowledged writes lost (RPO)", str(done.acknowledged_writes_lost)),
            ("failed reads", str(done.failed_reads)),
            ("promotion, seconds", f"{done.promotion_seconds:.2f}"),
            (f"rejoin by {done.rejoined_by}, seconds", f"{done.rejoin_seconds:.2f}"),
            ("operations", str(done.operations)),
        ]
        problems = [f"violated: {name}, {count} times" for name, count in done.violations.items()] + done.doubts
        return "\n".join([as_table(("drill", done.at), rows), *problems, "", super().describe_result(done, survey)])

    def exit_code(self, done: DrillReport) -> ExitCode:
        """1 for anything lost, stale or failed; 4 where nothing can be concluded."""
        if done.doubts:
            return ExitCode.UNKNOWN
        return ExitCode.DONE if done.is_clean else ExitCode.REFUSED
