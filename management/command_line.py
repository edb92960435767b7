"""From `manage.py` to a command: those of this app start without the application, every other as Django starts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from django.core.management import execute_from_command_line, find_commands, load_command_class

_APP: Final = "management"
_COMMANDS: Final = Path(__file__).parent / "management"


def run_command_line(argv: Sequence[str]) -> None:
    """Run the command that the command line names.

    Django would first import every installed app, with its models, its admin and its HTTP interface: most of the
    time that a command takes which only asks the nodes. A command that does need the application sets it up.
    """
    name = argv[1] if len(argv) > 1 else ""
    if name in find_commands(str(_COMMANDS)):
        load_command_class(_APP, name).run_from_argv(list(argv))
    else:
        execute_from_command_line(list(argv))
