"""One PostgreSQL node of this machine: initialise, clone, start, stop. Knows processes and files, not SQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from management.credentials import write_private
from management.errors import OperationError, Refused
from management.host import Host
from management.processes import POLL_SECONDS, is_gone, reap, wait_until

STOP_FAST: Final = signal.SIGINT
STOP_IMMEDIATE: Final = signal.SIGQUIT
"""PostgreSQL docs, Shutting Down the Server."""
_START_SECONDS: Final = 60.0
_PID_LINE, _STATUS_LINE = 0, 7
"""PostgreSQL source, src/include/utils/pidfile.h."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """A node whose data lies on this machine."""

    name: str
    port: int
    data_dir: Path
    log_file: Path

    @property
    def is_initialised(self) -> bool:
        """Whether the data directory holds a complete node; a broken-off set-up leaves none."""
        return (self.data_dir / "PG_VERSION").exists()

    @property
    def is_standby(self) -> bool:
        """Whether it would start as a replica."""
        return (self.data_dir / "standby.signal").exists()

    @property
    def major(self) -> int:
        """The PostgreSQL version that made the data."""
        return int((self.data_dir / "PG_VERSION").read_text())

    def pid(self) -> int | None:
        """The pid of its running postmaster, or None. A pid that another program has inherited does not count."""
        lines = self._pid_file_lines()
        if not lines:
            return None
        # A single-user server writes it negative.
        pid = abs(int(lines[_PID_LINE]))
        reap(pid)
        try:
            process = psutil.Process(pid)
            is_ours = process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.data_dir.resolve()
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied:
            # Another user's process: only a postmaster of this directory can have written its pid here.
            is_ours = process.name() == "postgres"
        return pid if is_ours else None

    def newest_timeline(self) -> int:
        """The newest timeline its files know: of a promotion it made or followed. 1 before the first."""
        histories = (self.data_dir / "pg_wal").glob("*.history")
        return max((int(path.stem, 16) for path in histories), default=1)

    def initialise(self, host: Host, *, superuser: str, password: str, configuration: str, access: str) -> None:
        """Make an empty primary. All or nothing: the directory appears when it is complete."""
        with _Building(self, host) as building:
            password_file = building.parent / f".{self.name}.password"
            write_private(password_file, password)
            host.own(password_file)
            try:
                host.run(
                    "initdb",
                    f"--pgdata={building}",
                    f"--username={superuser}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--data-checksums",
                )
            finally:
                password_file.unlink()
            with (building / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(configuration)
            (building / "pg_hba.conf").write_text(access, encoding="utf-8")

    def clone(self, host: Host, *, conninfo: str, slot: str, passfile: Path) -> None:
        """Take a base backup from the node at `conninfo`. Leaves a standby that has no source yet."""
        with _Building(self, host) as building:
            host.run(
                "pg_basebackup",
                f"--pgdata={building}",
                f"--dbname={conninfo}",
                f"--slot={slot}",
                "--wal-method=stream",
                "--checkpoint=fast",
                environment={"PGPASSFILE": str(passfile)},
            )
            (building / "standby.signal").touch()
            host.own(building / "standby.signal")

    def start(self, host: Host, *settings: str) -> None:
        """Start it and wait until it accepts connections.

        Args:
            host: The machine and its programs.
            settings: `name=value` pairs for the command line. They win over the files, which a base
                backup or a rewind brings from another node.

        Raises:
            Refused: Its data was made by another version.
            OperationError: It ended or did not get ready in time; with the end of its log.
        """
        if self.major != host.installation.major:
            raise Refused(
                f"{self.name}: {self.data_dir} was made by PostgreSQL {self.major}, but the programs in "
                f"{host.installation.bindir} are {host.installation.major}. Set PG_BINDIR to version {self.major}."
            )
        arguments = [f"--{setting}" for setting in (f"port={self.port}", f"cluster_name={self.name}", *settings)]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with self._open_log() as log:
                offset = log.tell()
                process = host.spawn("postgres", "-D", str(self.data_dir), *arguments, log=log)
            while process.poll() is None and time.monotonic() < deadline:
                lines = self._pid_file_lines()
                if (
                    len(lines) > _STATUS_LINE
                    and int(lines[_PID_LINE]) == process.pid
                    and lines[_STATUS_LINE] == "ready"
                ):
                    return
                time.sleep(POLL_SECONDS)
            words = self._log_since(offset)
            # After a kill -9 its last children may live on for a second and hold the shared memory.
            is_remnant = "pre-existing shared memory" in words or "postmaster.pid" in words
            if process.poll() is None:
                raise OperationError(
                    f"{self.name} did not get ready within {_START_SECONDS:.0f} s; see {self.log_file}"
                )
            if not is_remnant or time.monotonic() > deadline:
                raise OperationError(f"{self.name} does not start: {words[-600:]} (log: {self.log_file})")
            time.sleep(0.2)

    def await_ready(self) -> None:
        """Wait until a node that was started by somebody else accepts connections.

        Raises:
            OperationError: It does not in time, as a frozen one.
        """

        def is_ready() -> bool:
            lines = self._pid_file_lines()
            return len(lines) > _STATUS_LINE and lines[_STATUS_LINE] == "ready"

        if not wait_until(is_ready, timeout_seconds=_START_SECONDS):
            raise OperationError(
                f"{self.name} runs, but is not ready after {_START_SECONDS:.0f} s; see {self.log_file}"
            )

    def stop(self, *, how: signal.Signals = STOP_FAST, timeout_seconds: float = 60.0) -> bool:
        """Stop it and wait for its end. False when it did not run.

        Raises:
            OperationError: It is still running after the timeout.
        """
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, how)
        if not wait_until(lambda: self.pid() is None, timeout_seconds=timeout_seconds):
            raise OperationError(f"{self.name} (pid {pid}) did not stop within {timeout_seconds:.0f} s.")
        return True

    def kill(self) -> None:
        """End it and its children at once, frozen or not.

        Raises:
            OperationError: They are still there.
        """
        pid = self.pid()
        if pid is None:
            return
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        for each in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        if not wait_until(lambda: all(is_gone(each) for each in family), timeout_seconds=10):
            raise OperationError(f"{self.name} (pid {pid}) is still there after kill -9.")

    def fence(self, host: Host) -> None:
        """Make its next start come up read-only; a process that runs now goes on as it is."""
        signal_file = self.data_dir / "standby.signal"
        signal_file.touch()
        host.own(signal_file)

    def point_at(self, host: Host, *, conninfo: str, slot: str) -> None:
        """Say, while it is stopped, what it streams from. As ALTER SYSTEM does, in `postgresql.auto.conf`.

        A rewound node accepts no connection before it has streamed, so SQL would come too late.
        """
        file = self.data_dir / "postgresql.auto.conf"
        wanted = {"primary_conninfo": conninfo, "primary_slot_name": slot}
        kept = [line for line in file.read_text("utf-8").splitlines() if line.partition("=")[0].strip() not in wanted]
        # A file of settings knows two escapes; a quote in a path has a backslash already, libpq's.
        quoted = [
            f"{name} = '" + value.replace("\\", "\\\\").replace("'", "''") + "'" for name, value in wanted.items()
        ]
        write_private(file, "\n".join([*kept, *quoted]) + "\n")
        host.own(file)

    def _pid_file_lines(self) -> list[str]:
        try:
            # It has the path of the data, in whatever encoding.
            text = (self.data_dir / "postmaster.pid").read_text(errors="replace")
            return [line.strip() for line in text.splitlines()]
        except FileNotFoundError:
            return []

    def _open_log(self) -> IO[bytes]:
        """For appending. Private: an error may carry the data of the statement that failed."""
        return os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _log_since(self, offset: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(offset)
            return " ".join(log.read().decode(errors="replace").split())


class _Building:
    """A directory that takes the node's place only when what fills it has succeeded."""

    def __init__(self, node: LocalNode, host: Host) -> None:
        self._node, self._host = node, host
        self._path = node.data_dir.with_name(f".{node.name}.building")

    def __enter__(self) -> Path:
        if self._node.data_dir.exists():
            raise Refused(f"{self._node.data_dir} exists already; it is never overwritten.")
        # A rest of a broken-off attempt. It never was a node: nodes have another name.
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir(mode=0o700)
        self._host.own(self._path)
        return self._path

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self._path.rename(self._node.data_dir)
        else:
            shutil.rmtree(self._path, ignore_errors=True)
