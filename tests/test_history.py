"""The history checker against a real system: clean where nothing is wrong, and able to see what is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from management.exit_codes import ExitCode
from management.history.run import RunOptions, run_history
from management.history.verdict import Invariant
from management.state import PROJECT_DIR
from tests.cluster import Outcome
from tests.faults import kill_the_primary_and_promote, lose_acknowledged_writes
from tests.system import System, hear_signals

pytestmark = pytest.mark.replication

SESSIONS = 8
"""Of a run, where nothing else is said."""


def verify(system: System, *arguments: str) -> tuple[Outcome, dict[str, Any]]:
    outcome = system.command("verify_history", "--seconds=5", "--format=json", *arguments)
    return outcome, json.loads(outcome.stdout) if outcome.stdout else {}


class TestVerifyHistory:
    def test_a_healthy_system_is_clean(self, make_system, tmp_path):
        file = tmp_path / "history.jsonl"
        outcome, report = verify(make_system(), f"--history={file}", "--max-seconds-without-writes=30")
        assert outcome.code == ExitCode.DONE, outcome.stdout + outcome.stderr
        assert set(report["controls"].values()) == {"caught"}
        history = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(history) == report["verdict"]["operations"]
        # How many they are is the machine's affair; that nobody was idle is not.
        assert len({operation["session"] for operation in history}) == SESSIONS

    def test_clients_that_drop_their_tokens_read_the_past(self, make_system):
        system = make_system()
        with system.replay_paused("pg3"):
            outcome, report = verify(system, "--ignore-tokens")
        findings = report["verdict"]["findings"]
        assert outcome.code == ExitCode.REFUSED
        assert findings["stale_reads"]["count"] > 0
        assert findings["backwards_reads"]["count"] > 0
        assert findings["acknowledged_writes_lost"]["count"] == 0

    def test_tokens_see_over_a_replica_that_is_behind(self, make_system):
        system = make_system()
        with system.replay_paused("pg3"):
            outcome, _ = verify(system)
        assert outcome.code == ExitCode.DONE, outcome.stdout + outcome.stderr

    def test_runs_what_the_caller_breaks_while_the_load_is_on(self, make_system):
        system = make_system()

        run = run_history(
            system.url, seconds=10, during=lambda: kill_the_primary_and_promote(system), options=RunOptions(seed=1)
        )
        assert run.report.exit_code() is ExitCode.DONE, run.report
        acknowledged = [operation for operation in run.history if operation.is_acknowledged_write]
        assert {operation.timeline for operation in acknowledged} == {1, 2}

    def test_acknowledged_writes_that_a_promotion_loses_are_found(self, make_system):
        system = make_system(sync="off")
        report = run_history(system.url, seconds=8, during=lambda: lose_acknowledged_writes(system)).report
        assert (report.exit_code(), report.doubts) == (ExitCode.REFUSED, ())
        assert report.verdict.count(Invariant.ACKNOWLEDGED_WRITES_LOST) > 0
        # The application said so itself, to the clients that had written or seen them.
        assert report.verdict.flagged_reads > 0

    def test_ctrl_c_ends_the_load_and_is_judged(self, make_system):
        system = make_system()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "verify_history"],
            cwd=PROJECT_DIR,
            env=system.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
        )
        assert process.stderr is not None
        assert "operations, 0 writes not acknowledged" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=120)
        assert (process.returncode, "s, interrupted" in shown, "clean" in shown) == (0, True, True), shown

    def test_without_a_server_nothing_is_run(self, make_system):
        system = make_system()
        system.script("stop-all")
        refused, _ = verify(system)
        assert (refused.code, "No application runs" in refused.stderr) == (ExitCode.REFUSED, True)
        silent, _ = verify(system, "--url=http://127.0.0.1:9")
        assert (silent.code, "does not answer" in silent.stderr) == (ExitCode.UNKNOWN, True)

    def test_a_system_with_limits_is_refused_before_the_load(self, make_system):
        outcome, _ = verify(make_system(variables={"HIGHLOAD_THROTTLING": "true"}))
        assert (outcome.code, "HIGHLOAD_THROTTLING=false" in outcome.stderr) == (ExitCode.REFUSED, True)
