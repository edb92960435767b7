"""Whom a load asks for: seeded people and beginnings of their names, in files for the load tool."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.credentials import read_env_file, write_private
from management.errors import Refused
from management.experiments.subject import Subject

USERS_MAX: Final = 100_000
NAMES_MAX: Final = 1_000
"""More would only be longer files."""
_IS_SEEDED: Final = "email LIKE '%.' || id || '@example.com'"
"""Only their password is known. `management.seeding` puts the id into the e-mail."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a load asks for."""

    people: int
    properties: dict[str, str]
    """Of the load: where the system is, who is there, and their password."""


def has_people(subject: Subject) -> bool:
    """Whether there are seeded people. Asks the primary."""
    with subject.database(subject.primary()) as connection:
        row = connection.execute(f"SELECT EXISTS (SELECT FROM users WHERE {_IS_SEEDED})").fetchone()
    return bool(row and row[0])


@contextlib.contextmanager
def asked_for(subject: Subject, folder: Path) -> Iterator[Asked]:
    """Some of them in random order, in files of `folder` that are deleted afterwards. Asks the primary.

    Raises:
        Refused: There are none.
    """
    users, names = folder / "users.csv", folder / "names.csv"
    with subject.database(subject.primary()) as connection:
        rows = connection.execute(
            f"SELECT id, email, left(first_name, 2), left(last_name, 2) FROM users WHERE {_IS_SEEDED} "
            f"ORDER BY random() LIMIT {USERS_MAX}"
        ).fetchall()
    if not rows:
        raise Refused("There are no seeded people to ask for. Run `manage.py seed_users` first.")
    beginnings = [(first, last) for _, _, first, last in rows[:NAMES_MAX]]
    try:
        _write(users, "id,email", [(user_id, email) for user_id, email, _, _ in rows])
        _write(names, "firstName,lastName", beginnings)
        yield Asked(len(rows), _properties(subject, users, names))
    finally:
        users.unlink(missing_ok=True)
        names.unlink(missing_ok=True)


def _write(file: Path, heading: str, rows: list[tuple[object, object]]) -> None:
    write_private(file, "\n".join([heading, *(f"{one},{other}" for one, other in rows)]) + "\n")


def _properties(subject: Subject, users: Path, names: Path) -> dict[str, str]:
    kept = read_env_file(subject.state.operator_env).get("HIGHLOAD_SEED_PASSWORD", "")
    return {
        "host": "127.0.0.1",
        "port": str(subject.port),
        "users": str(users.resolve()),
        "names": str(names.resolve()),
        "password": os.environ.get("HIGHLOAD_SEED_PASSWORD", kept),
        "sample_variables": "email",
    }
