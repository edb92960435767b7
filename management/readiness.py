"""Decides whether a command line of manage.py can be run yet, before Django does anything. Asks no node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from django.conf import settings

from management.errors import Refused
from management.state import StateDirectory

# They make a system, or load one of another machine.
_NEED_NO_SYSTEM: Final = frozenset({"help", "version", "setup_replication", "experiment", "verify_history"})
_HELP: Final = frozenset({"--help", "-h", "--version"})


def obstacle(arguments: Sequence[str]) -> str | None:
    """What keeps this command from running and what to do about it, in words; None if nothing does."""
    state = StateDirectory.from_environment()
    try:
        state.require_owner()
    except Refused as error:
        return str(error)
    try:
        # As Django does next, whatever the command; there, a mistake in a variable or a name would be a traceback.
        _ = settings.INSTALLED_APPS
    except (ImportError, ValueError) as error:
        return str(error)
    if not arguments or arguments[0] in _NEED_NO_SYSTEM or _HELP.intersection(arguments) or _is_set_up(state):
        return None
    return (
        f"{state.root} holds no cluster yet. Run `deploy/start-all`, or `manage.py setup_replication` for its nodes "
        "alone; or name another directory in HIGHLOAD_STATE."
    )


def _is_set_up(state: StateDirectory) -> bool:
    # The settings of existing servers may be in the environment alone.
    return bool(os.environ.get("HIGHLOAD_SECRET_KEY")) or state.application_env.exists() or state.record.exists()
