"""What the history checker says while nodes of a real system die, freeze and fall behind under load."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

from management.history.run import run_history
from management.server import running_server
from tests.test_system import System, make_system  # noqa: F401 - a fixture

pytestmark = pytest.mark.replication

SECONDS = 8.0
HELD_SECONDS = 2.0


def kill_a_replica(system: System) -> None:
    system.kill("pg3")
    time.sleep(HELD_SECONDS)
    system.start("pg3")


def kill_both_replicas(system: System) -> None:
    """Commits would wait for ever; they are cut and refused instead, and the workers go on reading."""
    system.kill("pg2")
    system.kill("pg3")
    time.sleep(HELD_SECONDS)
    system.start("pg2")
    system.start("pg3")


def freeze_a_replica(system: System) -> None:
    with system.frozen("pg3"):
        time.sleep(HELD_SECONDS)


def hold_replay_on_one(system: System) -> None:
    with system.replay_paused("pg2"):
        time.sleep(HELD_SECONDS)


def hold_replay_on_both(system: System) -> None:
    with system.replay_paused("pg2"), system.replay_paused("pg3"):
        time.sleep(HELD_SECONDS)


def freeze_the_primary(system: System) -> None:
    with system.frozen("pg1"):
        time.sleep(HELD_SECONDS)


def recycle_the_workers(system: System) -> None:
    running = running_server(system.state)
    assert running is not None
    for worker in psutil.Process(running.pid).children():
        worker.terminate()


def kill_the_primary_and_promote(system: System) -> None:
    system.kill("pg1")
    promoted = system.command("promote_replica", "--no-input")
    assert promoted.code == 0, promoted.stderr


FAULTS = [
    kill_a_replica,
    kill_both_replicas,
    freeze_a_replica,
    hold_replay_on_one,
    hold_replay_on_both,
    freeze_the_primary,
    recycle_the_workers,
    kill_the_primary_and_promote,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost_stale_or_backwards(make_system, fault: Callable[[System], None]):  # noqa: F811
    system = make_system()
    running = running_server(system.state)
    assert running is not None
    run = run_history(
        f"http://127.0.0.1:{running.options.port}", seconds=SECONDS, sessions=4, during=lambda: fault(system)
    )
    assert run.report.verdict.is_clean, run.report
