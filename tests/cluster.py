"""A real cluster for tests: kill, freeze, pause, promote, and wait for what follows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from management.connection import connect
from management.credentials import operator_credentials
from management.local_node import LocalNode
from management.local_plan import LocalSetup
from management.processes import is_gone, wait_until
from management.record import ClusterRecord, require_record
from management.setup import setup_local, stop_local
from management.state import PROJECT_DIR, StateDirectory
from management.survey import Survey, take_survey


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Cluster:
    """The nodes of one state directory."""

    state: StateDirectory

    @property
    def record(self) -> ClusterRecord:
        return require_record(self.state)

    def node(self, name: str) -> LocalNode:
        node = self.record.local(name, self.state)
        assert node is not None
        return node

    @contextmanager
    def superuser(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        with connect(self.record.node(name), operator_credentials(self.state).superuser) as connection:
            yield connection

    def survey(self) -> Survey:
        return take_survey(self.record, operator_credentials(self.state).superuser, self.state)

    def setup(self, **wanted: Any) -> None:
        setup_local(LocalSetup(**wanted), self.state, say=_silent)

    def start(self, name: str) -> None:
        self.node(name).start(self.record.host())

    def kill(self, name: str) -> None:
        """kill -9 of the postmaster, and wait until its children are gone too."""
        pid = self.node(name).pid()
        assert pid is not None
        children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: all(is_gone(each) for each in [pid, *children]), timeout_seconds=10)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP to the whole node: it accepts TCP connections and answers nothing."""
        pid = self.node(name).pid()
        assert pid is not None
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in reversed(processes):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextmanager
    def replay_paused(self, name: str) -> Iterator[None]:
        """The replica receives and does not show."""
        with self.superuser(name) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            assert wait_until(
                lambda: connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",),
                timeout_seconds=5,
            )
            try:
                yield
            finally:
                connection.execute("SELECT pg_wal_replay_resume()")

    @contextmanager
    def impatient_recovery(self, *names: str) -> Iterator[None]:
        """These replicas cancel every read that stands in the way of replay, and the primary knows of no reader."""
        settings = ("max_standby_streaming_delay = 0", "hot_standby_feedback = off")
        try:
            for name in names:
                with self.superuser(name) as connection:
                    for setting in settings:
                        connection.execute(f"ALTER SYSTEM SET {setting}".encode())
                    connection.execute("SELECT pg_reload_conf()")
            yield
        finally:
            for name in names:
                with self.superuser(name) as connection:
                    for setting in settings:
                        connection.execute(f"ALTER SYSTEM RESET {setting.partition(' ')[0]}".encode())
                    connection.execute("SELECT pg_reload_conf()")

    def command(self, *arguments: str, stdin: str | None = None) -> Outcome:
        """Run a command of manage.py on this cluster, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT_DIR,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            input=stdin,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        """Of a process that works on this cluster and no other."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("HIGHLOAD_")}
        kept = {name: value for name, value in os.environ.items() if name.startswith("HIGHLOAD_ARGON2_")}
        return {**own, **kept, "HIGHLOAD_STATE": str(self.state.root), "DJANGO_SETTINGS_MODULE": "highload.settings"}

    def destroy(self) -> None:
        """Thaw and stop everything, and delete it."""
        record = self.record
        for each in record.nodes:
            pid = self.node(each.name).pid()
            if pid is not None:
                for process in [psutil.Process(pid), *psutil.Process(pid).children()]:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()
        stop_local(record, self.state, say=_silent)
        for each in record.nodes:
            shutil.rmtree(Path(str(each.data_dir)).parent, ignore_errors=True)
        shutil.rmtree(self.state.root, ignore_errors=True)


@contextmanager
def temporary_state() -> Iterator[StateDirectory]:
    """A state directory where the nodes' user can reach it."""
    root = Path(tempfile.mkdtemp(prefix="highload-tests-"))
    root.chmod(0o755)
    try:
        yield StateDirectory(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _silent(_message: str) -> None:
    """Tests read results, not progress."""
