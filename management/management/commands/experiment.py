"""`manage.py experiment`: make the system's claims again, with a load, faults and figures, and write a report."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import django

from management.base import ClusterCommand, positive_seconds
from management.errors import Refused
from management.exit_codes import ExitCode
from management.experiments.cpu_limit import require_cpu_limits
from management.experiments.load import LoadTool, find_generator
from management.experiments.options import ALL_REPLICAS, FailoverOptions, Name, ReadOptions, RunOptions
from management.local_plan import REPLICAS, REPLICAS_MAX
from management.output import as_json, as_table
from management.processes import hear_termination
from management.seeding.task import LAG_LIMIT_MIN_BYTES
from management.state import StateDirectory

if TYPE_CHECKING:
    from management.experiments.report import Report

KINDS: Final = ("login", "profile", "search")
MIX: Final = "login=5,profile=65,search=30"
ALL_NODE_CPU_PERCENT: Final = 3.0
ALL_MAX_LAG_BYTES: Final = 16 * 1024 * 1024
"""What `all` uses where nothing is given."""


def mix(text: str) -> dict[str, int]:
    """The mix of a reading load on the command line.

    >>> mix("profile=70,search=30")
    {'login': 0, 'profile': 70, 'search': 30}
    """
    try:
        given = {kind: int(percent) for kind, _, percent in (each.partition("=") for each in text.split(","))}
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not like {MIX}") from error
    if not set(given) <= set(KINDS):
        raise ArgumentTypeError(f"{text!r}: the kinds are {', '.join(KINDS)}")
    if min(given.values()) < 0 or sum(given.values()) != 100:  # noqa: PLR2004 - per cent
        raise ArgumentTypeError(f"{text!r} must add up to 100 per cent")
    return {kind: given.get(kind, 0) for kind in KINDS}


def at_least_one(text: str) -> int:
    """A number of things on the command line.

    >>> at_least_one("3")
    3
    """
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(f"{text} is less than 1")
    return number


def share_of_processor(text: str) -> float:
    """Per cent of one processor on the command line.

    >>> share_of_processor("12.5")
    12.5
    """
    percent = float(text)
    if not 1 <= percent <= 100:  # noqa: PLR2004 - per cent
        raise ArgumentTypeError(f"{text} is not between 1 and 100")
    return percent


def lag_limit(text: str) -> int:
    """A limit of lag that seeding can keep, in bytes.

    >>> lag_limit("16777216")
    16777216
    """
    limit = int(text)
    if limit < LAG_LIMIT_MIN_BYTES:
        raise ArgumentTypeError(f"{text} is less than {LAG_LIMIT_MIN_BYTES}: a limit so small cannot be kept")
    return limit


class Command(ClusterCommand):
    """Parses, runs the experiments, writes the report, says what was met."""

    help = (
        "Repeat an experiment and write a folder with raw data, plots and one HTML report. It works on a system of its "
        "own, which is deleted afterwards, unless --running is given. Exit 1 if a figure is not within its limit."
    )
    interrupted = "Interrupted. A system made for the experiment is gone; look at a running one with check_lag."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("name", choices=[*map(str, Name)], help="which experiment")
        parser.add_argument(
            "--output", type=Path, metavar="DIR", help="for the results (default: experiments/TIME-NAME in the state)"
        )
        parser.add_argument(
            "--running",
            action="store_true",
            help="on the system of this state directory: its web server is started anew, lag ADDS people, "
            "kill-primary KILLS its primary",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask before acting on a running system")
        parser.add_argument(
            "--replicas",
            type=at_least_one,
            default=REPLICAS,
            metavar="N",
            help=f"of the system that is made (default: {REPLICAS}; all compares up to {ALL_REPLICAS} in another one)",
        )
        parser.add_argument(
            "--users", type=at_least_one, default=1_000_000, metavar="N", help="people (default: 1,000,000)"
        )
        parser.add_argument(
            "--load-tool",
            choices=[*map(str, LoadTool)],
            help="who makes the requests (default: jmeter where it is installed)",
        )
        parser.add_argument(
            "--rounds", type=at_least_one, default=9, metavar="N", help="read: of each kind (default: 9)"
        )
        parser.add_argument(
            "--round-seconds", type=positive_seconds, default=12.0, metavar="S", help="read: of a round (default: 12)"
        )
        parser.add_argument(
            "--seconds", type=positive_seconds, default=120.0, metavar="S", help="kill-primary: of load (default: 120)"
        )
        parser.add_argument(
            "--threads", type=at_least_one, default=8, metavar="N", help="read: clients at once (default: 8)"
        )
        parser.add_argument(
            "--mix", type=mix, default=MIX, metavar="SHARES", help="read: per cent (default: %(default)s)"
        )
        parser.add_argument(
            "--node-cpu",
            type=share_of_processor,
            metavar="PERCENT",
            help="read: give each node so much of one processor, and compare the numbers of replicas "
            f"(all: {ALL_NODE_CPU_PERCENT:g} where the machine allows it)",
        )
        parser.add_argument(
            "--max-lag-bytes",
            type=lag_limit,
            metavar="N",
            help=f"lag: seed once more under this limit (all: {ALL_MAX_LAG_BYTES})",
        )
        parser.add_argument(
            "--promote-after",
            type=positive_seconds,
            default=5.0,
            metavar="S",
            help="kill-primary: from the kill to promote_replica (default: 5)",
        )
        self.add_format(parser)

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Run, write, show."""
        if options["replicas"] > REPLICAS_MAX:
            raise Refused(f"--replicas {options['replicas']} is more than {REPLICAS_MAX}.")
        wanted = _wanted(options)
        if wanted.node_cpu_percent is not None and wanted.name is not Name.ALL:
            require_cpu_limits()
        if wanted.is_running and not options["no_input"]:
            question = f"This acts on the running system in {state.root}, as --help says. Type {wanted.name} to go on: "
            self.confirm(question, wanted.name)
        folder = options["output"] or state.root / "experiments" / f"{time.strftime('%Y%m%dT%H%M%S')}-{wanted.name}"
        # The load runs in another directory.
        folder = folder.resolve()
        _make_empty(folder)
        hear_termination()
        # The report's templates are found through the installed apps.
        django.setup()
        from management.experiments.report import write_report  # noqa: PLC0415 - with Django's templates
        from management.experiments.run import run_experiments  # noqa: PLC0415 - with matplotlib, half a second

        report = run_experiments(wanted, wanted.read.generator, state, folder, command=_command_line(), say=self.say)
        page = write_report(report, folder)
        self.stdout.write(as_json(report) if options["format"] == "json" else describe(report, page))
        return ExitCode.DONE if report.is_met else ExitCode.REFUSED


def _wanted(options: dict[str, Any]) -> RunOptions:
    name, generator = (
        Name(options["name"]),
        find_generator(LoadTool(options["load_tool"]) if options["load_tool"] else None),
    )
    is_all = name is Name.ALL
    return RunOptions(
        name=name,
        is_running=options["running"],
        replicas=options["replicas"],
        users=options["users"],
        read=ReadOptions(
            generator,
            rounds=options["rounds"],
            seconds=options["round_seconds"],
            threads=options["threads"],
            mix=options["mix"],
        ),
        failover=FailoverOptions(
            generator,
            seconds=options["seconds"],
            writers=4,
            readers=4,
            promote_after_seconds=options["promote_after"],
        ),
        node_cpu_percent=options["node_cpu"] or (ALL_NODE_CPU_PERCENT if is_all else None),
        max_lag_bytes=options["max_lag_bytes"] or (ALL_MAX_LAG_BYTES if is_all else None),
    )


def _make_empty(folder: Path) -> None:
    """Now rather than after the load: it may be in a place where nobody may write.

    Raises:
        Refused: There is something in it, which may be the results of before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Refused(f"--output {folder} is not empty. Nothing was started; name another directory.")


def _command_line() -> str:
    return shlex.join(["manage.py", *sys.argv[1:]])


def describe(report: Report, page: Path) -> str:
    """Every figure, and where the report is."""
    lines = []
    for chapter in report.chapters:
        rows = [(each.name, each.shown, each.limit, each.verdict) for each in chapter.findings]
        lines += [as_table((chapter.name, "value", "limit", ""), rows), ""]
    lines += [f"left out: {reason}" for reason in report.left_out]
    lines.append("every figure is within its limit" if report.is_met else "NOT every figure is within its limit")
    return "\n".join([*lines, f"report {page}"])
