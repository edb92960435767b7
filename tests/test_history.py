"""The history checker against a real system: clean where nothing is wrong, and able to see what is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from management.exit_codes import ExitCode
from management.history.run import RunOptions, run_history
from management.history.verdict import Invariant
from management.processes import is_gone, wait_until
from management.server import running_server
from management.state import PROJECT_DIR
from tests.cluster import Outcome
from tests.test_system import System, _hear_ctrl_c, make_system  # noqa: F401 - a fixture

pytestmark = pytest.mark.replication


def url_of(system: System) -> str:
    running = running_server(system.state)
    assert running is not None
    return f"http://127.0.0.1:{running.options.port}"


def verify(system: System, *arguments: str) -> tuple[Outcome, dict[str, Any]]:
    outcome = system.command("verify_history", "--seconds=5", "--format=json", *arguments)
    return outcome, json.loads(outcome.stdout) if outcome.stdout else {}


def cut_off_and_kill(system: System, name: str, *, after_seconds: float) -> None:
    """The node goes on alone for a while, and what it acknowledges then dies with it."""
    postmaster = psutil.Process(system.node(name).pid())
    children = postmaster.children(recursive=True)
    for child in children:
        if "walsender" in " ".join(child.cmdline()):
            child.suspend()
    time.sleep(after_seconds)
    # Before its children: seeing one die, it would start new ones.
    postmaster.suspend()
    children = postmaster.children(recursive=True)
    for process in (*children, postmaster):
        process.kill()
    assert wait_until(lambda: all(is_gone(each.pid) for each in (*children, postmaster)), timeout_seconds=10)


class TestVerifyHistory:
    def test_a_healthy_system_is_clean(self, make_system, tmp_path):  # noqa: F811 - a fixture
        file = tmp_path / "history.jsonl"
        outcome, report = verify(make_system(), f"--history={file}", "--max-seconds-without-writes=3")
        assert outcome.code == ExitCode.DONE, outcome.stdout + outcome.stderr
        assert set(report["controls"].values()) == {"caught"}
        history = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(history) == report["verdict"]["operations"] > 300

    def test_clients_that_drop_their_tokens_read_the_past(self, make_system):  # noqa: F811 - a fixture
        system = make_system()
        with system.replay_paused("pg3"):
            outcome, report = verify(system, "--ignore-tokens")
        findings = report["verdict"]["findings"]
        assert outcome.code == ExitCode.REFUSED
        assert findings["stale_reads"]["count"] > 0
        assert findings["backwards_reads"]["count"] > 0
        assert findings["acknowledged_writes_lost"]["count"] == 0

    def test_tokens_see_over_a_replica_that_is_behind(self, make_system):  # noqa: F811 - a fixture
        system = make_system()
        with system.replay_paused("pg3"):
            outcome, _ = verify(system)
        assert outcome.code == ExitCode.DONE, outcome.stdout + outcome.stderr

    def test_runs_what_the_caller_breaks_while_the_load_is_on(self, make_system):  # noqa: F811 - a fixture
        system = make_system()

        def fail_over() -> None:
            system.kill("pg1")
            assert system.command("promote_replica", "--no-input").code == 0

        run = run_history(url_of(system), seconds=10, during=fail_over, options=RunOptions(seed=1))
        assert run.report.exit_code() is ExitCode.DONE, run.report
        acknowledged = [operation for operation in run.history if operation.is_acknowledged_write]
        assert {operation.timeline for operation in acknowledged} == {1, 2}

    def test_acknowledged_writes_that_a_promotion_loses_are_found(self, make_system):  # noqa: F811 - a fixture
        system = make_system("--sync=off")

        def lose_some() -> None:
            cut_off_and_kill(system, "pg1", after_seconds=1.0)
            assert system.command("promote_replica", "--no-input", "--accept-data-loss").code == 0

        report = run_history(url_of(system), seconds=8, during=lose_some).report
        assert (report.exit_code(), report.doubts) == (ExitCode.REFUSED, ())
        assert report.verdict.count(Invariant.ACKNOWLEDGED_WRITES_LOST) > 0

    def test_ctrl_c_ends_the_load_and_is_judged(self, make_system):  # noqa: F811 - a fixture
        system = make_system()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "verify_history"],
            cwd=PROJECT_DIR,
            env=system.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no other thread runs here
        )
        assert process.stderr is not None
        assert "operations, 0 writes not acknowledged" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=60)
        assert (process.returncode, "s, interrupted" in shown, "clean" in shown) == (0, True, True), shown

    def test_without_a_server_nothing_is_run(self, make_system):  # noqa: F811 - a fixture
        system = make_system()
        system.script("stop-all")
        refused, _ = verify(system)
        assert (refused.code, "No application runs" in refused.stderr) == (ExitCode.REFUSED, True)
        silent, _ = verify(system, "--url=http://127.0.0.1:9")
        assert (silent.code, "does not answer" in silent.stderr) == (ExitCode.UNKNOWN, True)

    def test_a_system_with_limits_is_refused_before_the_load(self, make_system, monkeypatch):  # noqa: F811 - a fixture
        monkeypatch.setattr(
            System, "environment", lambda self, plain=System.environment: {**plain(self), "HIGHLOAD_THROTTLING": "true"}
        )
        outcome, _ = verify(make_system())
        assert (outcome.code, "HIGHLOAD_THROTTLING=false" in outcome.stderr) == (ExitCode.REFUSED, True)
