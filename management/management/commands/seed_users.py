"""`manage.py seed_users`: generated people for load tests and experiments."""

from __future__ import annotations

import os
import resource
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.hashers import make_password
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from management.base import ClusterCommand, positive_seconds
from management.credentials import read_env_file
from management.errors import Incomplete, Refused
from management.exit_codes import ExitCode
from management.output import as_json, show_bytes
from management.seeding.load import (
    LAG_LIMIT_MIN_BYTES,
    LagWatch,
    await_replicas,
    count_people,
    count_users,
    has_users,
    load_users,
)
from management.seeding.people import COUNT_MAX, generate_people
from management.state import StateDirectory

_KIB = 1024


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """What was loaded, and what it took."""

    users: int
    first_id: int
    last_id: int
    seconds: float
    seconds_waiting_for_replicas: float
    seconds_catching_up: float
    """Of these, at the end."""
    peak_memory_bytes: int
    highest_lag_bytes: dict[str, int]
    export: str | None


class Command(ClusterCommand):
    """Streams generated people through COPY, in one transaction and bounded memory."""

    interrupted = (
        "Interrupted. Nothing was loaded, unless it was in the very last step, the commit: look at the number of users."
    )
    help = "Generate users and load them. An interrupted run leaves the table as it was."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--count", type=int, default=1_000_000, metavar="N", help="how many (default: %(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same people (default: 1)")
        parser.add_argument(
            "--password", help="password of all of them (default: HIGHLOAD_SEED_PASSWORD, which set-up generates)"
        )
        parser.add_argument("--export", type=Path, metavar="FILE", help="write id,email lines for load tools")
        parser.add_argument(
            "--max-lag-bytes",
            type=int,
            metavar="N",
            help=f"no replica that answers gets further behind; slower, at least {LAG_LIMIT_MIN_BYTES}",
        )
        parser.add_argument("--no-input", action="store_true", help="do not ask before --replace")
        parser.add_argument(
            "--timeout",
            type=positive_seconds,
            default=120.0,
            metavar="SECONDS",
            help="wait for the replicas at the end",
        )
        self.add_format(parser)
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--append", action="store_true", help="keep the users that exist and add to them")
        mode.add_argument("--replace", action="store_true", help="delete ALL users that exist first")
        mode.add_argument("--if-empty", action="store_true", help="do nothing if there are people")
        mode.add_argument("--top-up", action="store_true", help="add only as many as are missing to --count people")

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Generate and load."""
        self._check(options)
        count = self._missing(options)
        if not count:
            return ExitCode.DONE
        password = options["password"] or _generated_password(state)
        if options["replace"]:
            self._confirm_replace(no_input=options["no_input"])
        started_at = time.monotonic()
        watch = LagWatch(options["max_lag_bytes"])
        password_hash = make_password(password)
        now = timezone.now()
        with _progress_bar(count, watch) as progress:
            first_id = load_users(
                lambda first: generate_people(
                    count=count, first_id=first, seed=options["seed"], password_hash=password_hash, joined_at=now
                ),
                replace=options["replace"],
                # An administrator is no reason not to seed.
                append=options["append"] or ((options["if_empty"] or options["top_up"]) and has_users()),
                export=options["export"],
                watch=watch,
                progress=progress,
            )
            progress.phase("replicas catch up")
            catching_up_at = time.monotonic()
            behind = await_replicas(watch, timeout_seconds=options["timeout"])
        ended_at = time.monotonic()
        self._show(
            SeedSummary(
                users=count,
                first_id=first_id,
                last_id=first_id + count - 1,
                seconds=round(ended_at - started_at, 2),
                seconds_waiting_for_replicas=round(ended_at - catching_up_at + watch.waited_seconds, 2),
                seconds_catching_up=round(ended_at - catching_up_at, 2),
                peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB,
                highest_lag_bytes=watch.highest_bytes,
                export=str(options["export"]) if options["export"] else None,
            ),
            options["format"],
        )
        if behind:
            raise Incomplete(
                f"The users are loaded, but {', '.join(behind)} had not replayed them in {options['timeout']:.0f} s. "
                "Watch with `manage.py check_lag --watch 1`."
            )
        return ExitCode.DONE

    def _check(self, options: dict[str, Any]) -> None:
        if not 1 <= options["count"] <= COUNT_MAX:
            raise Refused(f"--count {options['count']} is not between 1 and {COUNT_MAX}.")
        if options["max_lag_bytes"] is not None and options["max_lag_bytes"] < LAG_LIMIT_MIN_BYTES:
            raise Refused(
                f"--max-lag-bytes {options['max_lag_bytes']} is less than {LAG_LIMIT_MIN_BYTES}: "
                "a limit so small cannot be kept."
            )
        if options["export"]:
            options["export"] = export = options["export"].resolve()
            if (export.exists() and not export.is_file()) or not os.access(export.parent, os.W_OK):
                raise Refused(f"--export {export} must be a regular file, in a directory that you may write.")

    def _missing(self, options: dict[str, Any]) -> int:
        """How many people are to be added; says so where it depends on those that are there."""
        count: int = options["count"]
        if not (options["if_empty"] or options["top_up"]):
            return count
        people = count_people()
        if options["top_up"] and people < count:
            if people:
                self.say(f"people there already: {people}; adding {count - people}")
            return count - people
        if people:
            self.say(f"people there already: {people}; nothing to seed, nothing removed")
            return 0
        return count

    def _confirm_replace(self, *, no_input: bool) -> None:
        doomed = count_users()
        if doomed and not no_input:
            self.confirm(f"This deletes all {doomed} users for ever. Type the number to go on: ", str(doomed))

    def _show(self, summary: SeedSummary, form: str) -> None:
        if form == "json":
            self.stdout.write(as_json(summary))
            return
        lags = ", ".join(f"{name} {show_bytes(lag)}" for name, lag in sorted(summary.highest_lag_bytes.items()))
        self.stdout.write(
            f"{summary.users} users (ids {summary.first_id} to {summary.last_id}) in {summary.seconds:.1f} s, "
            f"{summary.seconds_waiting_for_replicas:.1f} s of it waiting for replicas; "
            f"peak memory {show_bytes(summary.peak_memory_bytes)}; highest lag: {lags or 'no replicas'}"
        )


def _generated_password(state: StateDirectory) -> str:
    password = os.environ.get("HIGHLOAD_SEED_PASSWORD") or read_env_file(state.operator_env).get(
        "HIGHLOAD_SEED_PASSWORD"
    )
    if not password:
        raise Refused("Give the users' password with --password, or in HIGHLOAD_SEED_PASSWORD.")
    return password


class _LagColumn(ProgressColumn):
    def __init__(self, watch: LagWatch) -> None:
        super().__init__()
        self._watch = watch

    def render(self, task: Task) -> Text:
        """The lag of each replica now."""
        lags = self._watch.look()
        return Text(
            "lag " + "  ".join(f"{name} {show_bytes(lag)}" for name, lag in sorted(lags.items())) if lags else ""
        )


class _Bar:
    """Shows the phases of a load as one bar for the rows and a word for the rest."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._task = progress.add_task("copy", total=count)

    def phase(self, name: str) -> None:
        """Another phase begins."""
        self._progress.update(self._task, description=name)

    def rows(self, count: int) -> None:
        """So many more rows were sent."""
        self._progress.advance(self._task, count)


@contextmanager
def _progress_bar(count: int, watch: LagWatch) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description:<29}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _LagColumn(watch),
    )
    with Progress(*columns, console=Console(file=sys.stderr, color_system=None), refresh_per_second=5) as progress:
        yield _Bar(progress, count)
