"""The system that an experiment works on: one of its own, made for it and deleted, or the running one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from management.connection import connect, conninfo
from management.credentials import Login, monitor_login, operator_credentials, read_env_file
from management.errors import OperationError, Refused
from management.experiments.sampling import Watched
from management.local_node import LocalNode
from management.local_secrets import OF_ONE_CLUSTER
from management.ports import free_ports
from management.processes import deaf_to_interrupts, run_to_its_end
from management.record import ClusterRecord, require_record
from management.server import NO_VARIABLES, ServerOptions, configuration_digest, ensure_server, running_server
from management.state import PROJECT_DIR, VARIABLE, StateDirectory
from management.survey import take_survey
from management.talk import Say

_LOAD_TEST: Final = {"HIGHLOAD_THROTTLING": "false"}
"""All requests of a load come from one address."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A system whose nodes run on this machine."""

    state: StateDirectory
    port: int
    """Of the web server."""
    keeps_users: bool
    """Its people are somebody's: none may be deleted."""
    say: Say

    @property
    def record(self) -> ClusterRecord:
        """The cluster as it is recorded now."""
        return require_record(self.state)

    def local(self, name: str) -> LocalNode:
        """A node's processes and files.

        Raises:
            Refused: It runs elsewhere.
        """
        node = self.record.local(name, self.state)
        if node is None:
            raise Refused(f"{name} runs on another machine; an experiment needs all nodes on this one.")
        return node

    def primary(self) -> str:
        """The node that accepts writes.

        Raises:
            Refused: There is not exactly one.
        """
        survey = take_survey(self.record, operator_credentials(self.state).superuser, self.state)
        if survey.primary is None or survey.writable != [survey.primary]:
            raise Refused(f"{' and '.join(survey.writable) or 'No node'} accepts writes; one node must.")
        return survey.primary

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run a command of manage.py as an operator would; its JSON result.

        Raises:
            OperationError: It failed; with what it said.
        """
        done = run_to_its_end(
            [sys.executable, str(PROJECT_DIR / "manage.py"), *arguments],
            environment={**os.environ, VARIABLE: str(self.state.root)},
            captures=True,
        )
        if done.returncode:
            words = f"ended with exit code {done.returncode}: {done.stderr.strip()}"
            raise OperationError(f"{' '.join(arguments)} {words}")
        result: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return result

    def serve(
        self, profile: str, *, nodes: Sequence[str] | None = None, variables: Mapping[str, str] = NO_VARIABLES
    ) -> None:
        """Let the web server run with this profile and without throttles; started anew if it must be.

        Args:
            profile: Of the router.
            nodes: Those that the application shall know. None: all.
            variables: Other settings, by the names of their environment variables.
        """
        known = (self.record.node(name) for name in nodes or ())
        addresses = ",".join(f"{node.name}={node.host}:{node.port}" for node in known)
        self._serve(profile, {**_LOAD_TEST, **variables, **({"HIGHLOAD_NODES": addresses} if addresses else {})})

    def serve_as_before(self, profile: str) -> None:
        """Let it run as deploy/start-all starts it."""
        self._serve(profile, {})

    def _serve(self, profile: str, variables: Mapping[str, str]) -> None:
        options = ServerOptions(self.port, profile, configuration_digest(self.state, variables))
        ensure_server(options, self.state, variables=variables)

    def watched(self) -> Watched:
        """For the sampler."""
        record, running = self.record, running_server(self.state)
        application = read_env_file(self.state.application_env)
        return Watched(
            nodes=record.nodes,
            local=[self.local(node.name) for node in record.nodes],
            monitor=monitor_login(self.state),
            database=application["HIGHLOAD_DB_NAME"],
            role=application["HIGHLOAD_DB_USER"],
            server_pid=running.pid if running else None,
        )

    def database(self, node: str) -> psycopg.Connection[Any]:
        """A connection of the application's role."""
        application = read_env_file(self.state.application_env)
        login = Login(application["HIGHLOAD_DB_USER"], application["HIGHLOAD_DB_PASSWORD"])
        parameters = conninfo(self.record.node(node), login, dbname=application["HIGHLOAD_DB_NAME"])
        return psycopg.connect(**parameters, autocommit=True)

    def decisions(self) -> dict[tuple[str, str], int]:
        """How many routing decisions the running web server has made, by node and reason."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.labels["alias"], sample.labels["reason"]): int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == "routers_decisions_total"
        }

    def settle(self) -> None:
        """Let every node do now what a bulk load leaves for later, or it would count as work of the experiment."""
        with self.database(self.primary()) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute("VACUUM (ANALYZE) users")
        for node in (each for each in self.record.nodes if not each.fenced):
            with connect(node, operator_credentials(self.state).superuser) as connection:
                connection.execute("SET statement_timeout = 0")
                connection.execute("CHECKPOINT")

    def seed(self, count: int, *options: str) -> dict[str, Any]:
        """Seed people: added to those who must be kept, in place of all others. What `seed_users` says."""
        mode = "--append" if self.keeps_users else "--replace"
        return self.manage("seed_users", f"--count={count}", mode, "--no-input", "--format=json", *options)


@contextlib.contextmanager
def embedded(replicas: int, *, say: Say) -> Iterator[Subject]:
    """A system of its own, without users, in a temporary directory; destroyed at the end.

    This process, and those that it starts, forget meanwhile which cluster their environment names.

    Raises:
        OperationError: It cannot be started.
    """
    kept = {name: os.environ.pop(name) for name in OF_ONE_CLUSTER if name in os.environ}
    root = Path(tempfile.mkdtemp(prefix="highload-experiment-"))
    # Open for passing through: the nodes may run as another user.
    root.chmod(0o711)
    first_port = free_ports(replicas + 2)
    subject = Subject(StateDirectory(root), first_port + replicas + 1, keeps_users=False, say=say)
    try:
        say(f"starting a system with {replicas} replicas in {root}")
        _script(
            "start_all",
            *(f"--state={root}", "--detach", "--users=0", f"--replicas={replicas}"),
            *(f"--base-port={first_port}", f"--http-port={subject.port}"),
        )
        yield subject
    finally:
        # Deaf to further interrupts, so that nothing of it is left.
        with deaf_to_interrupts():
            os.environ.update(kept)
            _script("stop_all", f"--state={root}", "--destroy", "--no-input")
            shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def running(state: StateDirectory, *, say: Say) -> Iterator[Subject]:
    """The system that runs for this state directory. Afterwards its web server is as it was.

    Raises:
        Refused: None runs.
    """
    server = running_server(state)
    if server is None:
        raise Refused(f"No application runs for {state.root}. Start it with deploy/start-all, or leave out --running.")
    subject = Subject(state, server.options.port, keeps_users=True, say=say)
    try:
        yield subject
    finally:
        subject.serve_as_before(server.options.profile)


def _script(name: str, *arguments: str) -> None:
    done = run_to_its_end([sys.executable, "-m", f"deploy.{name}", *arguments], captures=True)
    if done.returncode:
        raise OperationError(f"{name} ended with exit code {done.returncode}: {done.stderr.strip()[-600:]}")
