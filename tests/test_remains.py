"""A run of the suite leaves nothing behind, whatever ends it: a real one, of one test, is ended in each way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from management.processes import is_gone, wait_until
from management.state import PROJECT_DIR
from tests import lingering
from tests.run import VARIABLE
from tests.system import hear_signals

pytestmark = [pytest.mark.replication, pytest.mark.once]


@dataclass(frozen=True)
class Started:
    """What a run has started."""

    directories: list[str]
    pids: list[int]
    ports: list[int]
    segments: list[str]

    def left(self) -> list[object]:
        """What of it is still there."""
        held = {each.laddr.port for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        shared = {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
        return [
            *(directory for directory in self.directories if Path(directory).exists()),
            *(f"pid {pid}" for pid in self.pids if not is_gone(pid)),
            *(f"port {port}" for port in self.ports if port in held),
            *(f"segment {each}" for each in self.segments if each in shared),
        ]


@contextmanager
def run_that_stays(tmp_path: Path, *arguments: str, end: str = "") -> Iterator[tuple[subprocess.Popen[bytes], Started]]:
    """A run as a developer starts it, in a terminal of its own, once its test has started everything."""
    file = tmp_path / "started.json"
    own = {name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("PYTEST_")}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments, "tests/lingering.py"],
        cwd=PROJECT_DIR,
        env={**own, lingering.STARTED: str(file), lingering.END: end},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hear_signals,  # noqa: PLW1509 - no other thread runs here
    ) as run:
        try:
            assert wait_until(lambda: file.exists() or run.poll() is not None, timeout_seconds=120)
            yield run, Started(**json.loads(file.read_text()))
        finally:
            run.kill()


class TestNothingIsLeft:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
    def test_by_a_run_that_a_signal_ends(self, number, tmp_path):
        with run_that_stays(tmp_path) as (run, started):
            # The control: all is seen while it is there. One of the three nodes was killed, and left a segment.
            assert len(started.left()) == len([*["directory"] * 2, *["pid"] * 3, *["port"] * 3, *["segment"] * 3])
            # As a terminal does it: to all processes of the run.
            os.killpg(run.pid, number)
            run.wait(timeout=60)
            assert wait_until(lambda: not started.left(), timeout_seconds=60), started.left()

    def test_by_a_test_that_fails(self, tmp_path):
        with run_that_stays(tmp_path, end="failure") as (run, started):
            assert run.wait(timeout=60) == pytest.ExitCode.TESTS_FAILED
            # It is gone when the run has ended, not some time afterwards.
            assert started.left() == []

    def test_by_a_worker_that_crashes(self, tmp_path):
        with run_that_stays(tmp_path, "--numprocesses=1", "--max-worker-restart=0", end="crash") as (run, started):
            assert run.wait(timeout=60) != pytest.ExitCode.OK
            assert started.left() == []
