"""What can happen to the nodes of a running system, each as a function that does it and mends it again.

They are run under load: `tests/test_faults.py` the quick ones, `benchmarks/faults.py` all, several times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import Any, Final

import psutil
import psycopg

from management.processes import is_gone, wait_until
from tests import moved_clock
from tests.cluster import Cluster
from tests.system import System

HELD_SECONDS: Final = 2.0
REPLICAS: Final = ("pg2", "pg3")
CLOCK_OFFSET_SECONDS: Final = 120
_WRITTEN_ALONE: Final = 20
_CONFLICTS: Final = (
    "SELECT sum(confl_snapshot + confl_lock + confl_bufferpin + confl_deadlock) FROM pg_stat_database_conflicts"
)

VARIABLES: Final = {
    "HIGHLOAD_MAX_LAG_SECONDS": "1.5",
    "GUNICORN_CMD_ARGS": f"--worker-class={moved_clock.__name__}.Worker",
}
"""The environment of a system that can have them all: a limit of lag that a test can wait for, a clock to move."""

Fault = Callable[[System], None]


# ── Replicas ───────────────────────────────────────────────────────────────────────────────────────


def kill_the_first_replica(system: System) -> None:
    """kill -9 of a replica; started again."""
    _kill(system, "pg2")


def kill_the_second_replica(system: System) -> None:
    """The same with the other."""
    _kill(system, "pg3")


def kill_both_replicas(system: System) -> None:
    """kill -9 of both. Commits would wait for ever; they are cut and refused. Started again."""
    _kill(system, "pg2", "pg3")


def freeze_the_first_replica(system: System) -> None:
    """SIGSTOP of a replica: it accepts TCP and answers nothing. Then SIGCONT."""
    with system.frozen("pg2"):
        time.sleep(HELD_SECONDS)


def freeze_the_second_replica(system: System) -> None:
    """The same with the other."""
    with system.frozen("pg3"):
        time.sleep(HELD_SECONDS)


def hold_replay_on_one(system: System) -> None:
    """One replica receives and does not show, until it is past the limit of lag; then it goes on."""
    with system.replay_paused("pg2"):
        time.sleep(2 * HELD_SECONDS)


def hold_replay_on_both(system: System) -> None:
    """Both replicas receive and do not show, until both are past the limit of lag; then they go on."""
    with system.replay_paused("pg2"), system.replay_paused("pg3"):
        time.sleep(2 * HELD_SECONDS)


def conflict_with_recovery(system: System) -> None:
    """Rows are vacuumed and tables locked under the readers of both replicas, whose recovery waits for nobody."""
    before = _on_replicas(system, _CONFLICTS)
    ends_at = time.monotonic() + 2 * HELD_SECONDS
    with system.impatient_recovery(*REPLICAS), system.database("pg1") as primary:
        while time.monotonic() < ends_at:
            primary.execute("UPDATE users SET biography = biography WHERE id % 3 = 0")
            primary.execute("VACUUM users")
            with primary.transaction():
                primary.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    # Else nothing happened.
    assert wait_until(lambda: _on_replicas(system, _CONFLICTS) > before, timeout_seconds=60)


def use_up_the_connections_of_a_replica(system: System) -> None:
    """The application's connections to a replica end, and it accepts no others; then it does."""
    with ExitStack() as held, system.superuser("pg3") as superuser:
        for _ in range(2):
            mine = _take_every_connection(system, "pg3", held)
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'highload' AND pid <> ALL(%s)",
                [mine],
            )
        _take_every_connection(system, "pg3", held)
        time.sleep(HELD_SECONDS)


# ── The primary ────────────────────────────────────────────────────────────────────────────────────


def freeze_the_primary(system: System) -> None:
    """SIGSTOP of the primary, nobody promotes, SIGCONT."""
    with system.frozen("pg1"):
        time.sleep(HELD_SECONDS)


def kill_the_primary_and_promote(system: System) -> None:
    """kill -9 of the primary, then `promote_replica`: the workers hold connections to what is promoted."""
    system.kill("pg1")
    promote(system)


def freeze_the_primary_promote_and_thaw_it(system: System) -> None:
    """SIGSTOP of the primary, another is promoted by hand and nothing fenced, then SIGCONT of the old one."""
    with system.frozen("pg1"):
        promote_by_hand(system)
        time.sleep(HELD_SECONDS)
    time.sleep(HELD_SECONDS)


def start_the_old_primary_beside_the_new(system: System) -> None:
    """After a promotion the old primary is started again as it was, first in the list of nodes."""
    system.kill("pg1")
    promote(system)
    time.sleep(HELD_SECONDS)
    (system.node("pg1").data_dir / "standby.signal").unlink()
    system.start("pg1")
    time.sleep(HELD_SECONDS)


# ── The application ────────────────────────────────────────────────────────────────────────────────


def recycle_the_workers(system: System) -> None:
    """Each gunicorn worker is asked to end, twice; the master starts others."""
    for _ in range(2):
        for worker in _workers(system):
            worker.terminate()
        time.sleep(HELD_SECONDS)


def move_the_clock_of_a_worker(system: System) -> None:
    """The wall clock of one worker is two minutes ahead, that of the other is right."""
    file = system.state.root / moved_clock.FILE
    file.write_text(str(CLOCK_OFFSET_SECONDS))
    old, *_ = _workers(system)
    old.terminate()
    assert wait_until(lambda: is_gone(old.pid) and len(_workers(system)) > 1, timeout_seconds=60)
    assert wait_until(lambda: _seconds_ahead(system) > CLOCK_OFFSET_SECONDS / 2, timeout_seconds=60)
    file.unlink()


FAULTS: Final[tuple[Fault, ...]] = (
    kill_the_first_replica,
    kill_the_second_replica,
    kill_both_replicas,
    freeze_the_first_replica,
    freeze_the_second_replica,
    hold_replay_on_one,
    hold_replay_on_both,
    conflict_with_recovery,
    use_up_the_connections_of_a_replica,
    freeze_the_primary,
    kill_the_primary_and_promote,
    freeze_the_primary_promote_and_thaw_it,
    start_the_old_primary_beside_the_new,
    recycle_the_workers,
    move_the_clock_of_a_worker,
)


# ── Controls: what must be noticed ─────────────────────────────────────────────────────────────────


def lose_acknowledged_writes(system: System) -> None:
    """The primary goes on alone, and what it acknowledges then dies with it. Needs `--sync=off`."""
    with system.superuser("pg1") as primary:

        def transactions() -> int:
            """So many have written up to now."""
            row = primary.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
            return int(row[0])

        def write_alone() -> None:
            before = transactions()
            assert wait_until(lambda: transactions() >= before + _WRITTEN_ALONE, timeout_seconds=60)

        cut_off_and_kill(system, "pg1", meanwhile=write_alone)
    promote(system, "--accept-data-loss")


# ── What they are made of ──────────────────────────────────────────────────────────────────────────


def promote(system: System, *arguments: str) -> None:
    promoted = system.command("promote_replica", "--no-input", *arguments)
    assert promoted.code == 0, promoted.stderr


def promote_by_hand(system: System) -> None:
    """The replica with the newest WAL, in SQL alone, without a look at the old primary."""
    received = dict(zip(REPLICAS, _on_replicas(system, "SELECT pg_last_wal_receive_lsn() - '0/0'"), strict=True))
    with system.superuser(max(REPLICAS, key=lambda name: received[name])) as connection:
        # The inherited list would let no commit end.
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        connection.execute("SELECT pg_reload_conf()")
        assert connection.execute("SELECT pg_promote(true, 20)").fetchone() == (True,)


def cut_off_and_kill(cluster: Cluster, name: str, *, meanwhile: Callable[[], object]) -> None:
    """The node goes on alone for a while, and what it acknowledges then dies with it."""
    postmaster = psutil.Process(cluster.node(name).pid())

    def senders() -> list[psutil.Process]:
        return [child for child in postmaster.children(recursive=True) if "walsender" in " ".join(child.cmdline())]

    # One that comes later would let it all through.
    assert wait_until(lambda: len(senders()) == len(cluster.record.nodes) - 1, timeout_seconds=60)
    for sender in senders():
        sender.suspend()
    meanwhile()
    # Before its children: seeing one die, it would start new ones.
    postmaster.suspend()
    children = postmaster.children(recursive=True)
    for process in (*children, postmaster):
        process.kill()
    assert wait_until(lambda: all(is_gone(each.pid) for each in (*children, postmaster)), timeout_seconds=60)


def _kill(system: System, *names: str) -> None:
    for name in names:
        system.kill(name)
    time.sleep(HELD_SECONDS)
    for name in names:
        system.start(name)


def _on_replicas(system: System, statement: str) -> list[Any]:
    found = []
    for name in REPLICAS:
        with system.superuser(name) as connection:
            found.append(connection.execute(statement.encode()).fetchone())
    return found


def _take_every_connection(system: System, name: str, held: ExitStack) -> list[int]:
    """Open connections until the node refuses; their backends' pids."""
    pids: list[int] = []
    while True:
        try:
            connection = held.enter_context(system.database(name))
        except psycopg.OperationalError:
            return pids
        pids.append(connection.info.backend_pid)


def _seconds_ahead(system: System) -> float:
    """Of this process's clock: that of the worker which happens to answer."""
    with system.http as http:
        return parsedate_to_datetime(http.get("/healthz").headers["Date"]).timestamp() - time.time()


def _workers(system: System) -> list[psutil.Process]:
    return psutil.Process(system.server.pid).children()
