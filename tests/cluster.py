"""A real cluster for tests: kill, freeze, pause, promote, and wait for what follows."""

from __future__ import annotations

import os
import signal
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
from management.setup import setup_local
from management.state import VARIABLE, StateDirectory
from management.survey import Survey, take_survey
from management.synchronous import SyncMode
from tests import warm
from tests.golden import REPLICAS, copy_cluster, silent
from tests.remains import Remains
from tests.run import environment_of, run_directory
from tests.warm import Outcome

__all__ = ["Cluster", "Outcome", "copied_cluster", "temporary_state"]


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
        setup_local(LocalSetup(**wanted), self.state, say=silent)

    def start(self, name: str) -> None:
        self.node(name).start(self.record.host())

    def kill(self, name: str) -> None:
        """kill -9 of the postmaster, and wait until its children are gone too."""
        pid = self.node(name).pid()
        assert pid is not None
        children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: all(is_gone(each) for each in [pid, *children]), timeout_seconds=60)

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

    def command(self, *arguments: str, stdin: str = "") -> Outcome:
        """Run a command of manage.py on this cluster, in a process of its own."""
        return warm.run(["manage", *arguments], environment=self.environment(), stdin=stdin)

    def environment(self) -> dict[str, str]:
        """Of a process that works on this cluster and no other."""
        return environment_of(self.state)

    def destroy(self) -> None:
        """End everything at once, frozen or not, and delete it. Ending in order is `deploy/stop-all`'s."""
        Remains(self.state.root, VARIABLE).clear()


@contextmanager
def temporary_state() -> Iterator[StateDirectory]:
    """A state directory where the nodes' user can reach it."""
    root = Path(tempfile.mkdtemp(prefix="state-", dir=run_directory()))
    root.chmod(0o755)
    try:
        yield StateDirectory(root)
    finally:
        Remains(root, VARIABLE).clear()


@contextmanager
def copied_cluster(*, replicas: int = REPLICAS, sync: str | None = None) -> Iterator[Cluster]:
    """A cluster that runs; destroyed afterwards."""
    with temporary_state() as state:
        copy_cluster(state, replicas=replicas)
        cluster = Cluster(state)
        cluster.setup(sync=SyncMode(sync) if sync else None)
        yield cluster
