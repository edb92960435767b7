"""Where a local system keeps its data, secrets, logs and pids. Paths only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.errors import Refused

PROJECT_DIR: Final = Path(__file__).resolve().parent.parent
VARIABLE: Final = "HIGHLOAD_STATE"


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The directory named by HIGHLOAD_STATE; `var/` in the project without it."""

    root: Path

    @classmethod
    def from_environment(cls) -> StateDirectory:
        """The one every command of this environment uses."""
        return cls(Path(os.environ.get(VARIABLE) or PROJECT_DIR / "var").absolute())

    @property
    def application_env(self) -> Path:
        """Settings and secrets of the serving process. Mode 0600."""
        return self.root / "highload.env"

    @property
    def operator_env(self) -> Path:
        """Credentials that only operators and set-up need. Mode 0600; the serving process never reads it."""
        return self.root / "operator.env"

    @property
    def record(self) -> Path:
        """What set-up made: the nodes and the synchronous replication that was asked for."""
        return self.root / "cluster.json"

    @property
    def history(self) -> Path:
        """The newest timeline the application has seen."""
        return self.root / "history.json"

    @property
    def drills(self) -> Path:
        """The reports of all drills, one JSON object a line."""
        return self.root / "drills.jsonl"

    @property
    def log_dir(self) -> Path:
        """Logs of the nodes and of gunicorn."""
        return self.root / "log"

    @property
    def run_dir(self) -> Path:
        """Pid files."""
        return self.root / "run"

    @property
    def server(self) -> Path:
        """Pid and options of the running web server."""
        return self.run_dir / "server.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One command at a time changes a system; fails at once if another is at it.

        Raises:
            Refused: Another process holds the lock.
        """
        self.create()
        with (self.run_dir / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Refused(
                    f"Another command is changing the system in {self.root}. Wait until it has ended."
                ) from error
            yield

    def create(self) -> None:
        """Make the directories, closed to other users' writing."""
        if self.root.exists() and not self.root.is_dir():
            raise Refused(f"{self.root} is a file; the state directory must be a directory.")
        self.require_owner()
        # Open for passing through only: the nodes' user goes to its data below.
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for directory in (self.log_dir, self.run_dir):
            directory.mkdir(mode=0o700, exist_ok=True)

    def require_owner(self) -> None:
        """Do nothing if the directory is this user's, or not there yet.

        Raises:
            Refused: It belongs to another user, whose files a command of this one would spoil or not read.
        """
        if self.root.is_dir() and self.root.stat().st_uid != os.geteuid():
            owner = self.root.stat().st_uid
            raise Refused(
                f"{self.root} belongs to the user with id {owner}, not {os.geteuid()}. Run this as that user."
            )
