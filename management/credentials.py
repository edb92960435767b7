"""Secrets: generated once, kept in files of mode 0600, never printed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from management.errors import Refused
from management.state import StateDirectory

_SECRET_BYTES: Final = 24
SUPERUSER: Final = "postgres"
REPLICATOR: Final = "replicator"
MONITOR: Final = "highload_monitor"
ADMIN_EMAIL: Final = "admin@highload.example"


@dataclass(frozen=True, slots=True)
class OperatorCredentials:
    """What the control path connects with."""

    superuser: str
    superuser_password: str = field(repr=False)
    replicator: str = REPLICATOR
    replicator_password: str = field(default="", repr=False)


def generate_secret() -> str:
    """A new random secret, 192 bits, safe in files and addresses."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def write_private(path: Path, text: str) -> None:
    """Write a file that is private from its first byte, replacing it as a whole."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def write_secret_file(path: Path, values: Mapping[str, str], *, heading: str) -> None:
    """Write KEY=value lines, privately."""
    lines = [f"# {heading}", *(f"{name}={value}" for name, value in values.items())]
    write_private(path, "\n".join(lines) + "\n")


def read_env_file(path: Path) -> dict[str, str]:
    """The KEY=value lines of a file; empty if there is none."""
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}


def operator_credentials(state: StateDirectory) -> OperatorCredentials:
    """From the environment, or else from the operator file of the state directory.

    Raises:
        Refused: Neither has them.
    """
    values = {**read_env_file(state.operator_env), **os.environ}
    try:
        return OperatorCredentials(
            superuser=values.get("HIGHLOAD_OPERATOR_USER", SUPERUSER),
            superuser_password=values["HIGHLOAD_OPERATOR_PASSWORD"],
            replicator=values.get("HIGHLOAD_REPLICATOR_USER", REPLICATOR),
            replicator_password=values["HIGHLOAD_REPLICATOR_PASSWORD"],
        )
    except KeyError as error:
        raise Refused(
            f"{error.args[0]} is not set and not in {state.operator_env}. For local nodes run "
            "`manage.py setup_replication`; for existing servers set it in the environment."
        ) from error
