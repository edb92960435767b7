#!/usr/bin/env python3
"""Django's command line for Highload."""

import os
import sys

from management.readiness import obstacle
from management.streams import prepare_streams


def main() -> None:
    """Run the command named on the command line."""
    prepare_streams()
    reason = obstacle(sys.argv[1:])
    if reason is not None:
        sys.exit(f"manage.py: {reason}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the environment is set

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
