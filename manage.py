#!/usr/bin/env python3
"""Django's command line for Highload."""

import os
import sys

from management.command_line import run_command_line


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    run_command_line(sys.argv)


if __name__ == "__main__":
    main()
