"""The Postman collection, run by Newman against a real system."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from management.state import PROJECT_DIR
from tests import programs
from tests.stub import Answer, stub
from tests.system import System

pytestmark = pytest.mark.once

POSTMAN = PROJECT_DIR / "docs" / "postman"


def run_collection(url: str, report: Path) -> tuple[int, list[str]]:
    """Newman's exit code, and what failed as `request: check`."""
    done = subprocess.run(
        [
            str(programs.newman()),
            "run",
            str(POSTMAN / "highload.postman_collection.json"),
            f"--environment={POSTMAN / 'local.postman_environment.json'}",
            f"--env-var=baseUrl={url}",
            "--reporters=json",
            f"--reporter-json-export={report}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    failures = json.loads(report.read_text())["run"]["failures"]
    return done.returncode, [f"{failure['source']['name']}: {failure['error']['test']}" for failure in failures]


class TestCollection:
    def test_agrees_with_the_system_and_may_be_repeated(self, shared_system, tmp_path):
        runs = [run_collection(shared_system.url, tmp_path / f"{number}.json") for number in range(2)]
        assert runs == [(0, [])] * 2

    def test_registers_one_new_person_and_changes_her(self, shared_system, tmp_path):
        before = self.movers(shared_system)
        run_collection(shared_system.url, tmp_path / "one.json")
        assert self.movers(shared_system) == before + 1

    def movers(self, system: System) -> int:
        with system.database("pg1") as connection:
            rows = connection.execute("SELECT 1 FROM users WHERE last_name = 'Ковалевская' AND city = 'Стокгольм'")
            return len(rows.fetchall())

    @pytest.mark.parametrize(
        ("answer", "caught"),
        [
            (Answer(200, {"userId": 1}), "register: answers 201"),
            (Answer(201, {"userId": "1"}), "register: gives a number"),
            (Answer(404, {"status": 404}), "nobody: is a problem document"),
        ],
    )
    def test_fails_on_a_wrong_answer(self, answer, caught, tmp_path):
        with stub(lambda _: answer) as server:
            code, failures = run_collection(f"http://127.0.0.1:{server.port}", tmp_path / "wrong.json")
        assert (code, caught in failures) == (1, True)


class TestLock:
    def test_names_no_registry(self):
        lock = json.loads((POSTMAN / "package-lock.json").read_text())
        assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
