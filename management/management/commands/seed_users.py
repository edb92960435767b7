"""`manage.py seed_users`: generated people for load tests and experiments."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import django

from management.base import ClusterCommand, positive_seconds
from management.credentials import read_env_file
from management.errors import Incomplete, Refused
from management.exit_codes import ExitCode
from management.output import as_json, show_bytes
from management.seeding.task import COUNT_MAX, LAG_LIMIT_MIN_BYTES, SeedOptions, SeedSummary
from management.state import StateDirectory


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
        django.setup()
        from management.seeding.load import count_people, count_users, has_people, has_users  # noqa: PLC0415 - as below
        from management.seeding.run import run_seeding  # noqa: PLC0415 - the models exist from here on

        count: int = options["count"]
        if options["if_empty"] and has_people():
            self.say("there are people already; nothing to seed, nothing removed")
            return ExitCode.DONE
        if options["top_up"] and not (count := self._missing(count, count_people())):
            return ExitCode.DONE
        password = options["password"] or _generated_password(state)
        if options["replace"] and not options["no_input"]:
            self._confirm_replace(count_users())
        seeded = run_seeding(
            SeedOptions(
                count=count,
                seed=options["seed"],
                password=password,
                replace=options["replace"],
                # An administrator is no reason not to seed.
                append=options["append"] or ((options["if_empty"] or options["top_up"]) and has_users()),
                export=options["export"],
                max_lag_bytes=options["max_lag_bytes"],
                timeout_seconds=options["timeout"],
            )
        )
        self._show(seeded.summary, options["format"])
        if seeded.behind:
            raise Incomplete(
                f"The users are loaded, but {', '.join(seeded.behind)} had not replayed them in "
                f"{options['timeout']:.0f} s. Watch with `manage.py check_lag --watch 1`."
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

    def _missing(self, count: int, people: int) -> int:
        """How many are to be added to those who are there; says so."""
        if people >= count:
            self.say(f"people there already: {people}; nothing to seed, nothing removed")
            return 0
        if people:
            self.say(f"people there already: {people}; adding {count - people}")
        return count - people

    def _confirm_replace(self, doomed: int) -> None:
        if doomed:
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
