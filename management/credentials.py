"""Secrets: generated once, kept in files of mode 0600, never printed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from management.errors import Refused
from management.state import StateDirectory

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.,:@=/+-]*")
_SECRET_BYTES: Final = 24
SUPERUSER: Final = "postgres"
REPLICATOR: Final = "replicator"
MONITOR: Final = "highload_monitor"
ADMIN_EMAIL: Final = "admin@highload.example"


@dataclass(frozen=True, slots=True)
class Login:
    """A database role and its password."""

    role: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperatorCredentials:
    """What the control path connects with when it changes something."""

    superuser: Login
    replicator: Login


def generate_secret() -> str:
    """A new random secret, 192 bits, safe in files and addresses."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def write_private(path: Path, text: str) -> None:
    """Write a file that is private from its first byte, replacing it as a whole."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def write_secret_file(path: Path, values: Mapping[str, str], *, heading: str) -> None:
    """Write KEY=value lines, privately."""
    lines = [f"# {heading}", *(f"{name}={_quoted(value)}" for name, value in values.items())]
    write_private(path, "\n".join(lines) + "\n")


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def read_env_file(path: Path) -> dict[str, str]:
    """The KEY=value lines of a file; empty if there is none."""
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}


def operator_credentials(state: StateDirectory) -> OperatorCredentials:
    """From the environment, or else from the operator file of the state directory.

    Raises:
        Refused: Neither has them.
    """
    return OperatorCredentials(
        superuser=_login("OPERATOR", SUPERUSER, state.operator_env),
        replicator=_login("REPLICATOR", REPLICATOR, state.operator_env),
    )


def monitor_login(state: StateDirectory) -> Login:
    """The role that sees the state of replication and nothing of the data.

    Raises:
        Refused: Neither the environment nor the application's file has its password.
    """
    return _login("MONITOR", MONITOR, state.application_env)


def _login(kind: str, default_role: str, path: Path) -> Login:
    values = {**read_env_file(path), **os.environ}
    password = values.get(f"HIGHLOAD_{kind}_PASSWORD")
    if not password:
        raise Refused(
            f"HIGHLOAD_{kind}_PASSWORD is not set and not in {path}. For local nodes run "
            "`manage.py setup_replication`; for existing servers set it in the environment."
        )
    return Login(values.get(f"HIGHLOAD_{kind}_USER") or default_role, password)
