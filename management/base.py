"""The base of the control path's commands: works with the primary dead, tells the truth in its exit code."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

import psutil
import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from management.errors import OperationError, Refused
from management.exit_codes import HELP, INTERRUPTED, ExitCode
from management.state import StateDirectory


def positive_seconds(text: str) -> float:
    """A duration on the command line.

    >>> positive_seconds("0.5")
    0.5
    """
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text} is not a positive number of seconds")
    return seconds


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

    def say(self, message: str) -> None:
        """One line of progress, on stderr."""
        self.stderr.write(message, self.style.NOTICE)
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
