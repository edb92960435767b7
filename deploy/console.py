"""What the scripts share on the command line: the state directory, and how they talk."""

from __future__ import annotations

import argparse
import os
import sys

from management.state import PROJECT_DIR, VARIABLE


def add_state_option(parser: argparse.ArgumentParser) -> None:
    """Which system is meant."""
    parser.add_argument(
        "--state",
        type=directory,
        default=os.environ.get(VARIABLE) or str(PROJECT_DIR / "var"),
        metavar="DIR",
        help=f"data, secrets, logs (default: {VARIABLE} or var/)",
    )


def directory(text: str) -> str:
    """Where a system is, on the command line. An empty variable of a script would mean the current directory.

    >>> directory("var")
    'var'
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a directory")
    return text


def say(message: str) -> None:
    """One line of progress, on stderr."""
    print(message, file=sys.stderr, flush=True)
