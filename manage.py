#!/usr/bin/env python3
"""Django's command line for Highload."""

import os
import sys


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    try:
        from management.command_line import run_command_line  # noqa: PLC0415 - this Python may have no Django
    except ModuleNotFoundError as error:
        sys.exit(
            f"manage.py: {sys.executable} has no {error.name}. `deploy/start-all` makes .venv; use .venv/bin/python."
        )
    run_command_line(sys.argv)


if __name__ == "__main__":
    main()
