"""Where a local system keeps its data, secrets, logs and pids. Paths only."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.errors import Refused

PROJECT_DIR: Final = Path(__file__).resolve().parent.parent
VARIABLE: Final = "HIGHLOAD_STATE"
_ELSEWHERE: Final = f"name another one in {VARIABLE} (start-all, stop-all: --state)"


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
        self.require_owner()
        try:
            # Open for passing through only: the nodes' user goes to its data below.
            make_passable(self.root)
            for directory in (self.log_dir, self.run_dir):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Refused(
                f"The state directory {self.root} cannot be made ({error.strerror}). Mend that, or {_ELSEWHERE}."
            ) from error

    def require_owner(self) -> None:
        """Do nothing if the directory is this user's, or not there yet.

        Raises:
            Refused: It is a file, or belongs to another user, whose files a command of this one would spoil or not
                read.
        """
        try:
            found = self.root.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise Refused(
                f"The state directory {self.root} cannot be reached ({error.strerror}). Mend that, or {_ELSEWHERE}."
            ) from error
        if not stat.S_ISDIR(found.st_mode):
            raise Refused(
                f"{self.root} is a file; the state directory must be a directory. Move it away, or {_ELSEWHERE}."
            )
        if found.st_uid != os.geteuid():
            raise Refused(
                f"{self.root} belongs to {user_name(found.st_uid)}, and this is {user_name(os.geteuid())}. "
                f"Run it as that user, or {_ELSEWHERE}."
            )


def make_passable(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for other users to pass through, whatever the umask."""
    if not directory.exists():
        make_passable(directory.parent)
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711)


def user_name(uid: int) -> str:
    """For people; the number alone if nobody has it.

    >>> user_name(0), user_name(2**31)
    ('root', 'the user with id 2147483648')
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user with id {uid}"
