"""The base of the control path's commands: works with the primary dead, tells the truth in its exit code."""

from __future__ import annotations

import logging.config
import math
import sys
from abc import abstractmethod
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Generic, Protocol, TypeVar

import psutil
import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from management.credentials import operator_credentials
from management.errors import OperationError, Refused
from management.exit_codes import HELP, INTERRUPTED, ExitCode
from management.output import as_json, describe_survey
from management.record import require_record
from management.state import StateDirectory
from management.succession import Succession
from management.survey import Survey


def positive_seconds(text: str) -> float:
    """A duration on the command line.

    >>> positive_seconds("0.5")
    0.5
    """
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text} is not a positive number of seconds")
    return seconds


def non_negative_bytes(text: str) -> int:
    """A size on the command line.

    >>> non_negative_bytes("16777216")
    16777216
    """
    count = int(text)
    if count < 0:
        raise ArgumentTypeError(f"{text} is less than 0")
    return count


class ClusterCommand(BaseCommand):
    """Parses, calls one operation, shows its result: on stdout, with the talk on stderr."""

    # No query and no check before the arguments are parsed: the database may be what is broken.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's declaration
    requires_migrations_checks = False
    interrupted = "interrupted"
    """What Ctrl-C leaves behind, in words."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        """Django's parser, with the exit codes at the end of the help."""
        options.setdefault("epilog", HELP)
        return super().create_parser(prog_name, subcommand, **options)

    def add_format(self, parser: ArgumentParser) -> None:
        """The choice between text for people and JSON for programs."""
        parser.add_argument("--format", choices=["text", "json"], default="text", help="form of the result on stdout")

    def add_thresholds(self, parser: ArgumentParser) -> None:
        """How much lag is too much: those of `lag.Thresholds`."""
        parser.add_argument(
            "--max-lag-bytes", type=non_negative_bytes, default=64 * 1024 * 1024, metavar="N", help="default: 64 MiB"
        )
        parser.add_argument("--max-lag-seconds", type=positive_seconds, default=5.0, metavar="S", help="default: 5")

    def say(self, message: str) -> None:
        """Progress or a plan, on stderr: plain, because Django shows in red what is written there, as an error."""
        self.stderr.write(message, str)
        self.stderr.flush()

    def confirm(self, question: str, expected: str) -> None:
        """Ask on the terminal.

        Raises:
            Refused: The answer is another one, or there is nobody to ask.
        """
        if not sys.stdin.isatty():
            raise Refused("There is no terminal to ask on. Nothing was changed. Add --no-input to act without asking.")
        if input(question).strip() != expected:
            raise Refused("Not confirmed; nothing was changed.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the operation and turn its errors into a message and an exit code."""
        if not apps.ready:
            # Started without the application. What is wrong in the settings is said before anything is done; the
            # clock and the logs are as they say.
            logging.config.dictConfig(settings.LOGGING)
        try:
            code = self.operate(StateDirectory.from_environment(), options)
        except OperationError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        except KeyboardInterrupt as error:
            raise CommandError(self.interrupted, returncode=INTERRUPTED) from error
        except (psycopg.Error, DatabaseError) as error:
            raise CommandError(" ".join(str(error).split()), returncode=ExitCode.UNKNOWN) from error
        except (OSError, psutil.Error) as error:
            raise CommandError(f"{type(error).__name__}: {error}", returncode=ExitCode.UNKNOWN) from error
        if code is not ExitCode.DONE:
            raise SystemExit(int(code))

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """What the command does. Raises OperationError."""
        raise NotImplementedError


P = TypeVar("P")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)


class Operation(Protocol[P, D_co]):
    """What a planned command does."""

    def plan(self) -> P:
        """What would be done now. Changes nothing; raises Refused or Unknown if it must not be done."""

    def carry_out(self, plan: P) -> D_co:
        """Do it."""


class PlannedCommand(ClusterCommand, Generic[P, D]):
    """Surveys, decides, shows the plan, asks, looks again under the lock, acts, surveys again."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What all have in common."""
        parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
        parser.add_argument("--no-input", action="store_true", help="do not ask before acting")
        parser.add_argument(
            "--timeout", type=positive_seconds, default=30.0, metavar="SECONDS", help="for each wait (default: 30)"
        )
        self.add_format(parser)

    @abstractmethod
    def operation(self, succession: Succession, options: dict[str, Any]) -> Operation[P, D]:
        """The operation that the command line asks for."""

    @abstractmethod
    def describe(self, plan: P) -> str:
        """The plan in words, one step a line."""

    @abstractmethod
    def subject(self, plan: P) -> str:
        """The node that the plan is about; the operator types its name."""

    def operate(self, state: StateDirectory, options: dict[str, Any]) -> ExitCode:
        """Plan, confirm, act."""
        if options["dry_run"]:
            plan = self._operation(state, options).plan()
            self.stdout.write(as_json(plan) if options["format"] == "json" else self.describe(plan))
            return ExitCode.DONE
        confirmed = None if options["no_input"] else self._confirm(self._operation(state, options).plan())
        with state.lock():
            # The answer may have taken a while: look again before anything is changed.
            operation = self._operation(state, options)
            plan = operation.plan()
            if confirmed is None:
                self.say(self.describe(plan))
            elif self.subject(plan) != confirmed:
                raise Refused(f"Meanwhile it would be about {self.subject(plan)}. Nothing was changed; look again.")
            done = operation.carry_out(plan)
            survey = self._succession(state, options).survey()
        self.stdout.write(as_json(done) if options["format"] == "json" else self.describe_result(done, survey))
        return self.exit_code(done)

    def _confirm(self, plan: P) -> str:
        """Show the plan and ask; the node that was confirmed."""
        subject = self.subject(plan)
        self.say(self.describe(plan))
        self.confirm(f"Type {subject} to go on: ", subject)
        return subject

    def describe_result(self, done: D, survey: Survey) -> str:
        """What was done, in words: the nodes as they are now."""
        return describe_survey(survey)

    def exit_code(self, done: D) -> ExitCode:
        """What the result means to a program."""
        return ExitCode.DONE

    def _operation(self, state: StateDirectory, options: dict[str, Any]) -> Operation[P, D]:
        return self.operation(self._succession(state, options), options)

    def _succession(self, state: StateDirectory, options: dict[str, Any]) -> Succession:
        return Succession(
            record=require_record(state),
            credentials=operator_credentials(state),
            state=state,
            timeout_seconds=options["timeout"],
            say=self.say,
        )
