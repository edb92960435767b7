"""From `manage.py` to a command: those of this app start without the application, every other as Django starts it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.core.management import execute_from_command_line, find_commands, load_command_class
from django.core.management.base import CommandError, CommandParser, handle_default_options

from management.readiness import obstacle
from management.streams import prepare_streams
from routers.errors import PrimaryUnavailable

_APP: Final = "management"
_COMMANDS: Final = Path(__file__).parent / "management"


def run_command_line(argv: Sequence[str]) -> None:
    """Run the command that the command line names.

    Django would first import every installed app, with its models, its admin and its HTTP interface: most of the
    time that a command takes which only asks the nodes. A command that does need the application sets it up.
    """
    prepare_streams(sys.stderr)
    _choose_settings(argv[2:])
    reason = obstacle(argv[1:])
    if reason is not None:
        sys.exit(f"manage.py: {reason}")
    try:
        _run(list(argv))
    except PrimaryUnavailable as error:
        if "--traceback" in argv:
            raise
        sys.exit(f"manage.py: {error}\n`manage.py diagnose_replication` says what is wrong and what to do.")


def _choose_settings(arguments: Sequence[str]) -> None:
    """As Django's command line does it, before anybody reads them."""
    parser = CommandParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    with suppress(CommandError):
        options, _ = parser.parse_known_args(arguments)
        handle_default_options(options)


def _run(argv: list[str]) -> None:
    name = argv[1] if len(argv) > 1 else ""
    if name in find_commands(str(_COMMANDS)):
        # They print for people, or JSON in ASCII. What Django's print may be data, and must not be half of it.
        prepare_streams(sys.stdout)
        load_command_class(_APP, name).run_from_argv(argv)
    else:
        execute_from_command_line(argv)
