"""The nodes of docker-compose.yml as processes of this machine: their entry point, and no containers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from management.connection import connect
from management.credentials import operator_credentials, read_env_file
from management.host import Host, prepare_home
from management.installation import find_installation
from management.local_secrets import ensure_secrets
from management.processes import wait_until
from management.record import ClusterRecord, RecordedNode
from management.state import PROJECT_DIR
from management.survey import Survey, take_survey
from management.synchronous import SynchronousReplication, SyncMode
from routers.node import Role
from tests import run
from tests.cluster import Cluster, Outcome, temporary_state
from tests.ports import free_ports
from tests.system import hear_signals


@dataclass(frozen=True)
class ContainedNodes(Cluster):
    """Three of them, and the state directory of their operator."""

    nodes: tuple[RecordedNode, ...]
    host: Host
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def home(self, name: str) -> Path:
        """What is a volume in Compose."""
        return self.state.root / "volumes" / name

    def log(self, name: str) -> str:
        return (self.state.root / f"{name}.log").read_text(errors="replace")

    def begin(self, *names: str) -> None:
        for name in names:
            with (self.state.root / f"{name}.log").open("ab") as log:
                self.processes[name] = self._spawn(name, stdout=log, stderr=log)

    def end(self, *names: str, how: signal.Signals = signal.SIGINT) -> None:
        for name in names:
            os.kill(self.processes[name].pid, how)
        for name in names:
            self.processes.pop(name).wait(timeout=30)

    def run(self, name: str, *words: str) -> Outcome:
        """Another container on the same volume; one that waits is ended."""
        process = self._spawn(name, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        return Outcome(process.returncode, stdout.decode(), stderr.decode())

    def roles(self) -> dict[str, Role | None]:
        return {name: found.status.role if found.status else None for name, found in self._survey().nodes.items()}

    def become(self, **roles: Role | None) -> bool:
        return wait_until(lambda: self.roles() == roles, timeout_seconds=60)

    def set_up(self) -> bool:
        """What the service `setup` does."""
        return wait_until(
            lambda: self.command("setup_replication", "--existing", "--sync=quorum").code == 0, timeout_seconds=60
        )

    def promote_by_hand(self, name: str) -> None:
        """Past every command of the project."""
        node = next(node for node in self.nodes if node.name == name)
        with connect(node, operator_credentials(self.state).superuser) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_promote()")

    def _survey(self) -> Survey:
        record = ClusterRecord(self.nodes, SynchronousReplication(SyncMode.OFF))
        return take_survey(record, operator_credentials(self.state).superuser, self.state)

    def _spawn(self, name: str, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        secrets = read_env_file(self.state.operator_env)
        variables = {
            "PATH": f"{self.host.installation.bindir}:{os.environ['PATH']}",
            run.VARIABLE: str(run.run_directory()),
            "NODE": name,
            "HIGHLOAD_NODES": ",".join(f"{node.name}={node.host}:{node.port}" for node in self.nodes),
            "PGDATA": str(self.home(name) / "node"),
            "CLUSTER_RECORD": str(self.state.record),
            "HIGHLOAD_OPERATOR_PASSWORD": secrets["HIGHLOAD_OPERATOR_PASSWORD"],
            "HIGHLOAD_REPLICATOR_PASSWORD": secrets["HIGHLOAD_REPLICATOR_PASSWORD"],
        }
        return subprocess.Popen(
            [str(self.state.root / "compose" / "node"), *words],
            env=variables,
            cwd="/",
            start_new_session=True,
            preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
            **streams,
            **self.host.account.identity(),
        )


@contextmanager
def contained_nodes() -> Iterator[ContainedNodes]:
    """Three nodes without data; nothing runs yet. Destroyed afterwards."""
    with temporary_state() as state:
        state.create()
        port = free_ports(3)
        nodes = tuple(RecordedNode(f"pg{number + 1}", "127.0.0.1", port + number) for number in range(3))
        ensure_secrets(ClusterRecord(nodes, SynchronousReplication(SyncMode.OFF)), state)
        contained = ContainedNodes(state, nodes, prepare_home(find_installation(), state)[0])
        shutil.copytree(PROJECT_DIR / "deploy" / "compose", state.root / "compose")
        settings = state.root / "compose" / "postgresql.conf"
        settings.write_text(settings.read_text().replace("'*'", "'127.0.0.1'"))
        for node in nodes:
            contained.home(node.name).mkdir(parents=True)
            contained.host.own(contained.home(node.name))
        try:
            yield contained
        finally:
            contained.end(*contained.processes, how=signal.SIGQUIT)
