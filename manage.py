#!/usr/bin/env python3
"""Django's command line for Highload."""

import os
import sys


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    try:
        from management.readiness import obstacle  # noqa: PLC0415 - this Python may have no Django
        from management.streams import prepare_streams  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(
            f"manage.py: {sys.executable} has no {error.name}. `deploy/start-all` makes .venv; use .venv/bin/python."
        )
    prepare_streams()
    reason = obstacle(sys.argv[1:])
    if reason is not None:
        sys.exit(f"manage.py: {reason}")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - after the environment is set

    from routers.errors import PrimaryUnavailable  # noqa: PLC0415 - as above

    try:
        execute_from_command_line(sys.argv)
    except PrimaryUnavailable as error:
        sys.exit(f"manage.py: {error}\n`manage.py diagnose_replication` says what is wrong and what to do.")


if __name__ == "__main__":
    main()
