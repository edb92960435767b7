"""The whole system, as a user starts it: scripts, processes, HTTP."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from management.credentials import read_env_file
from management.processes import wait_until
from management.server import running_server
from management.state import PROJECT_DIR
from tests.cluster import Outcome, temporary_state
from tests.ports import free_ports
from tests.system import PATIENT, USERS, System, hear_signals, running_system

pytestmark = pytest.mark.replication


def login(http: httpx.Client, email: str, password: str) -> httpx.Response:
    return http.post("/v0/api/auth/login", json={"email": email, "password": password})


def register(http: httpx.Client, email: str) -> httpx.Response:
    person = {"email": email, "password": "correct horse 1", "firstName": "Анна", "lastName": "Каренина"}
    return http.post("/v0/api/auth/register", json=person)


class TestStartAll:
    def test_brings_up_what_it_says_and_may_be_repeated(self):
        with running_system() as system:
            with system.http as http:
                assert http.get("/readyz").json()["primary"] == "pg1"
                assert register(http, "a@example.com").status_code == 201
            again = system.script("start-all", "--detach", f"--users={USERS}", f"--http-port={self.port(system)}")
            assert (again.code, "runs already" in again.stderr) == (0, True), again.stderr
            self.check_secrets(system, again)
            self.stop_and_go_on(system)

    def port(self, system: System) -> int:
        return running_server(system.state).options.port

    def check_secrets(self, system: System, outcome: Outcome) -> None:
        """Private files, and no secret in what was printed or logged."""
        files = (system.state.operator_env, system.state.application_env)
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
        secrets = [
            value
            for file in files
            for name, value in read_env_file(file).items()
            if name.endswith(("PASSWORD", "SECRET_KEY"))
        ]
        assert len(secrets) == 7
        shown = outcome.stdout + outcome.stderr
        shown += "".join(log.read_text(errors="replace") for log in system.state.log_dir.iterdir())
        assert not [secret for secret in secrets if secret in shown]

    def stop_and_go_on(self, system: System) -> None:
        """Stopping loses nothing; starting again continues."""
        port = self.port(system)
        stopped = system.script("stop-all")
        assert (stopped.code, [system.node(name).pid() for name in ("pg1", "pg2", "pg3")]) == (0, [None] * 3)
        started = system.script("start-all", "--detach", f"--users={USERS}", f"--http-port={port}")
        assert (started.code, "nothing to seed" in started.stderr) == (0, True)
        with system.http as http:
            assert login(http, "a@example.com", "correct horse 1").status_code == 200

    def test_names_a_taken_port_and_changes_nothing(self, make_system):
        system = make_system()
        taken = self.port(system)
        with temporary_state() as state:
            other = System(state)
            outcome = other.script("start-all", "--detach", f"--http-port={taken}")
            assert outcome.code == 1
            assert f"Port {taken} for HTTP is not available" in outcome.stderr
            assert "gunicorn" in outcome.stderr or "python" in outcome.stderr
            assert not (state.root / "nodes").exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("moment", ["pg1 started", "migrating"])
    def test_an_interrupted_start_stops_everything_and_may_be_repeated(self, number, moment):
        with temporary_state() as state:
            system = System(state)
            port = free_ports(4)
            arguments = [f"--state={state.root}", f"--base-port={port}", f"--http-port={port + 3}", "--users=50000"]
            process = subprocess.Popen(
                [str(PROJECT_DIR / "deploy" / "start-all"), *arguments],
                env={**system.environment(), "HIGHLOAD_VENV": sys.prefix},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
            )
            assert process.stderr is not None
            for line in process.stderr:
                if moment in line:
                    process.send_signal(number)
                    break
            _, talk = process.communicate(timeout=120)
            assert process.returncode == 130, talk
            assert [system.node(name).pid() for name in ("pg1", "pg2", "pg3")] == [None] * 3
            again = system.script("start-all", "--detach", f"--http-port={port + 3}", "--users=300")
            assert again.code == 0, again.stderr
            assert system.script("stop-all", "--destroy", "--no-input").code == 0

    def test_ctrl_c_stops_everything(self, make_system):
        system = make_system()
        port = self.port(system)
        system.script("stop-all")
        process = subprocess.Popen(
            [
                str(PROJECT_DIR / "deploy" / "start-all"),
                f"--state={system.state.root}",
                f"--http-port={port}",
                f"--users={USERS}",
            ],
            env={**system.environment(), "HIGHLOAD_VENV": sys.prefix},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "Ctrl-C stops everything" in line:
                break
        os.killpg(process.pid, 2)
        _, talk = process.communicate(timeout=120)
        assert process.returncode == 130, talk
        assert [system.node(name).pid() for name in ("pg1", "pg2", "pg3")] == [None] * 3
        assert running_server(system.state) is None


class TestReplicationProfile:
    def test_a_thousand_reads_and_logins_leave_the_primary_without_a_query(self, make_system):
        system = make_system(variables=PATIENT)
        emails = system.emails(50)
        with system.superuser("pg1") as primary, system.http as http:
            primary.execute("SELECT pg_stat_statements_reset()")
            for number in range(1, 501):
                assert http.get(f"/v0/api/users/{number % USERS + 1}").status_code == 200
                answer = http.get("/v0/api/users/search", params={"firstName": "А", "lastName": "К"})
                assert answer.status_code == 200
            assert {login(http, email, system.password).status_code for email in emails} == {200}
            assert self.application_queries(primary) == []
            # The control: a read that must go to the primary is seen by the same counter.
            assert register(http, "control@example.com").status_code == 201
            assert [query for query, _ in self.application_queries(primary) if query.startswith("INSERT")]

    def application_queries(self, connection) -> list[tuple[str, int]]:
        rows = connection.execute(
            "SELECT query, calls FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid"
            " WHERE rolname = 'highload'"
        )
        return rows.fetchall()

    def test_master_only_reads_the_primary(self, make_system):
        system = make_system(profile="master-only")
        with system.superuser("pg1") as primary, system.http as http:
            primary.execute("SELECT pg_stat_statements_reset()")
            assert http.get("/v0/api/users/1").status_code == 200
            assert self.application_queries(primary)

    def test_both_replicas_share_the_reads(self, make_system):
        system = make_system(variables=PATIENT)
        with system.http as http:
            for _ in range(40):
                # Each time another client: one client stays on the replica it has seen.
                http.cookies.clear()
                http.get("/v0/api/users/1")
            metrics = http.get("/metrics").text
        served = {line.split('"')[1] for line in metrics.splitlines() if line.startswith("routers_decisions_total")}
        assert served == {"pg2", "pg3"}


class TestFailover:
    def test_reads_never_fail_and_writes_go_on(self, make_system):
        system = make_system()
        failures: list[str] = []
        reads = 0
        stop = threading.Event()

        def read() -> None:
            nonlocal reads
            with system.http as http:
                while not stop.is_set():
                    answer = http.get(f"/v0/api/users/{reads % USERS + 1}")
                    reads += 1
                    if answer.status_code != 200:
                        failures.append(f"{answer.status_code} {answer.text}")

        reader = threading.Thread(target=read)
        reader.start()
        try:
            with system.http as http:
                assert register(http, "before@example.com").status_code == 201
                system.kill("pg1")
                reads_before = reads
                refused = register(http, "during@example.com")
                assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
                assert int(refused.headers["Retry-After"]) > 0
                promoted = system.command("promote_replica", "--no-input", "--format=json")
                assert promoted.code == 0, promoted.stderr
                # The benchmark shows how soon.
                assert wait_until(
                    lambda: register(http, f"{time.monotonic()}@example.com").status_code == 201, timeout_seconds=60
                )
                reads_meanwhile = reads - reads_before
                assert login(http, "before@example.com", "correct horse 1").status_code == 200
                assert wait_until(lambda: reads > reads_before + reads_meanwhile, timeout_seconds=60)
        finally:
            stop.set()
            reader.join()
        assert failures == []
        assert reads_meanwhile > 0
        assert json.loads(promoted.stdout)["timeline"] == 2

    def test_a_stopped_system_comes_back_with_the_new_primary_and_the_old_one_fenced(self, make_system):
        system = make_system()
        port = running_server(system.state).options.port
        with system.http as http:
            system.kill("pg1")
            assert system.command("promote_replica", "--no-input").code == 0
            assert wait_until(lambda: register(http, "kept@example.com").status_code == 201, timeout_seconds=60)
        system.script("stop-all")
        started = system.script("start-all", "--detach", f"--http-port={port}", f"--users={USERS}")
        assert (started.code, "pg1 stays stopped" in started.stderr) == (0, True)
        survey = system.survey()
        assert (survey.primary, survey.writable, survey.timeline) == ("pg2", ["pg2"], 2)
        with system.http as http:
            assert login(http, "kept@example.com", "correct horse 1").status_code == 200


class TestDestroy:
    def test_asks_and_takes_no_for_an_answer(self, make_system):
        system = make_system()
        refused = system.script("stop-all", "--destroy")
        assert (refused.code, "Nothing was deleted" in refused.stderr) == (1, True)
        assert system.node("pg1").pid() is not None

    def test_deletes_what_set_up_made_and_nothing_else(self, make_system):
        system = make_system()
        mine = system.state.root / "notes.txt"
        mine.write_text("mine")
        data = Path(str(system.record.nodes[0].data_dir))
        assert system.script("stop-all", "--destroy", "--no-input").code == 0
        assert (list(system.state.root.iterdir()), data.exists()) == ([mine], False)
