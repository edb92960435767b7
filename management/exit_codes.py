"""The exit codes of every command."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a command's exit status says. `argparse` itself uses 2."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    INCOMPLETE = 3
    UNKNOWN = 4


INTERRUPTED: Final = 130
"""What a shell shows for a program that Ctrl-C ended."""

HELP: Final = (
    "exit codes: 0 done or healthy; 1 refused or unhealthy, nothing changed; 2 usage; "
    "3 incomplete: something changed, what to run next is printed; 4 unknown"
)
