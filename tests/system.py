"""The whole system for tests: a cluster with the web server in front, as a user starts it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
import psycopg

from management.connection import conninfo
from management.credentials import Login, read_env_file
from management.processes import wait_until
from management.server import RunningServer, running_server
from management.state import PROJECT_DIR
from routers.node import Condition
from tests import warm
from tests.cluster import Cluster, Outcome, temporary_state
from tests.golden import USERS, copy_system
from tests.ports import free_ports

__all__ = ["PATIENT", "USERS", "System", "copied_system", "hear_signals", "running_system"]

PATIENT: Final = {"HIGHLOAD_PROBE_TIMEOUT_SECONDS": "10", "HIGHLOAD_MAX_LAG_SECONDS": "60"}
"""Variables of a system that takes no node for dead or lagging because the machine is slow."""


@dataclass(frozen=True)
class System(Cluster):
    """A cluster with the web server in front."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment of the server and of commands, over the suite's own."""

    def script(self, name: str, *arguments: str) -> Outcome:
        """Run deploy/start-all or deploy/stop-all on this system."""
        done = subprocess.run(
            [str(PROJECT_DIR / "deploy" / name), f"--state={self.state.root}", *arguments],
            env={**self.environment(), "HIGHLOAD_VENV": sys.prefix},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        own = {"HIGHLOAD_THROTTLING": "false", "HIGHLOAD_WEB_WORKERS": "2"}
        return {**super().environment(), **own, **self.variables}

    @property
    def server(self) -> RunningServer:
        running = running_server(self.state)
        assert running is not None
        return running

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.options.port}"

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    @property
    def password(self) -> str:
        return read_env_file(self.state.operator_env)["HIGHLOAD_SEED_PASSWORD"]

    def emails(self, count: int) -> list[str]:
        with self.database("pg2") as connection:
            rows = connection.execute("SELECT email FROM users ORDER BY id LIMIT %s", [count]).fetchall()
        return [email for (email,) in rows]

    def database(self, node: str) -> psycopg.Connection:
        """As the application's role."""
        values = read_env_file(self.state.application_env)
        login = Login(values["HIGHLOAD_DB_USER"], values["HIGHLOAD_DB_PASSWORD"])
        return psycopg.connect(**conninfo(self.record.node(node), login, dbname="highload"), autocommit=True)

    def sees_all_replicas(self) -> bool:
        """Every worker takes every node for good; a few requests reach them all."""
        with self.http as http:
            answers = [http.get("/readyz").json()["nodes"].values() for _ in range(10)]
        return all(
            [node["condition"] for node in nodes] == [Condition.GOOD] * len(self.record.nodes) for nodes in answers
        )


def hear_signals() -> None:
    """As in a terminal: what runs in the background, or under nohup, is deaf to Ctrl-C, to Ctrl-\\ or to a hang-up."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def running_system(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[System]:
    """Start a system with deploy/start-all and these arguments; destroy it afterwards."""
    with temporary_state() as state:
        system = System(state, variables or {})
        base_port = free_ports(4)
        outcome = system.script(
            "start-all",
            "--detach",
            f"--users={USERS}",
            f"--base-port={base_port}",
            f"--http-port={base_port + 3}",
            *arguments,
        )
        assert outcome.code == 0, outcome.stderr
        assert wait_until(system.sees_all_replicas, timeout_seconds=60)
        yield system


@contextmanager
def copied_system(
    *, sync: str | None = None, profile: str = "replication", variables: Mapping[str, str] | None = None
) -> Iterator[System]:
    """A system as deploy/start-all leaves it, sooner; destroyed afterwards."""
    with temporary_state() as state:
        copy_system(state)
        system = System(state, variables or {})
        arguments = ["tests.serving", str(free_ports(1)), profile, *([sync] if sync else [])]
        outcome = warm.run(arguments, environment=system.environment())
        assert outcome.code == 0, outcome.stderr
        assert wait_until(system.sees_all_replicas, timeout_seconds=60)
        yield system
