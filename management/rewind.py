"""Makes a stopped node's data a copy of the primary's with `pg_rewind`, and keeps what only the node had."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from psycopg.conninfo import make_conninfo

from management import provisioning
from management.connection import connect
from management.control_data import read_control_data
from management.credentials import write_private
from management.errors import OperationError
from management.local_node import LocalNode
from management.processes import POLL_SECONDS
from management.succession import Succession
from routers.lsn import SEGMENT_BYTES, Lsn
from routers.probe import parse_history


def rewind(node: LocalNode, primary: str, timeline: int, succession: Succession) -> Path | None:
    """Stop the node and rewind it. Leaves it stopped, with a `standby.signal`.

    Returns where its own WAL is kept. None: it had none beyond the point where the timelines part.

    Raises:
        OperationError: A program failed; the node's data may have to be cloned.
    """
    host = succession.record.host()
    node.fence(host)
    if node.stop(timeout_seconds=succession.timeout_seconds):
        succession.say(f"{node.name} stopped")
    with connect(succession.record.node(primary), succession.credentials.superuser) as connection:
        # On PostgreSQL 15 pg_rewind otherwise finds nothing to do and leaves what has diverged.
        connection.execute("SELECT set_config('statement_timeout', '0', false)")
        connection.execute("CHECKPOINT")
        switches = parse_history(provisioning.read_timeline_history(connection, timeline))
    if not read_control_data(node.data_dir, host).is_clean:
        _recover(node, succession)
    kept = _keep_diverged_wal(node, switches, succession)
    _run_pg_rewind(node, primary, succession)
    return kept


def _recover(node: LocalNode, succession: Succession) -> None:
    """Let it replay its own WAL and stop in order: files can be compared only then.

    A single-user server accepts no connections. It refuses to run with `standby.signal`, which so is away meanwhile.
    """
    host = succession.record.host()
    signal_file = node.data_dir / "standby.signal"
    signal_file.unlink(missing_ok=True)
    command = ("postgres", "--single", "-D", str(node.data_dir), "-c", "synchronous_standby_names=", "template1")
    deadline = time.monotonic() + succession.timeout_seconds
    try:
        while True:
            try:
                host.run(*command)
                break
            except OperationError as error:
                # After a kill -9 its last processes may not be reaped yet.
                is_remnant = "postmaster.pid" in str(error) or "pre-existing shared memory" in str(error)
                if not is_remnant or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
    finally:
        node.fence(host)
    succession.say(f"{node.name} has recovered from its crash")


def _keep_diverged_wal(node: LocalNode, switches: dict[int, Lsn], succession: Succession) -> Path | None:
    """Copy the segments in which it went on alone; None if there are none. Few: from where it should have stopped."""
    control = read_control_data(node.data_dir, succession.record.host())
    switch = switches.get(control.timeline)
    if switch is None:
        return None
    segments = [
        path
        for path in sorted((node.data_dir / "pg_wal").glob(f"{control.timeline:08X}" + "[0-9A-F]" * 16))
        if switch.value - SEGMENT_BYTES < _first_byte(path.name)
        # Its last record is a checkpoint; later files are recycled ones. Unknown if somebody has started it read-only.
        and (_first_byte(path.name) <= control.checkpoint_lsn.value or not control.was_primary)
    ]
    if not segments:
        return None
    kept = node.data_dir.with_name(f"{node.name}.diverged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    kept.mkdir(mode=0o700, exist_ok=True)
    for path in segments:
        shutil.copy2(path, kept)
    (kept / "README").write_text(
        f"WAL that {node.name} wrote and may be on no other node: timeline {control.timeline} ended at {switch}. "
        "`pg_waldump` shows it; what is later than that end was not taken over. Delete it when nobody misses "
        "anything.\n"
    )
    succession.say(f"{node.name}: its own WAL is kept in {kept}")
    return kept


def _first_byte(segment: str) -> int:
    """Where a segment begins.

    >>> _first_byte("000000020000000100000003") == (1 << 32) + 3 * 16 * 1024 * 1024
    True
    """
    return (int(segment[8:16], 16) << 32) + int(segment[16:], 16) * SEGMENT_BYTES


def _run_pg_rewind(node: LocalNode, primary: str, succession: Succession) -> None:
    host, source = succession.record.host(), succession.record.node(primary)
    login = succession.credentials.superuser
    passfile = node.data_dir.with_name(f".{node.name}.rewind.pgpass")
    write_private(passfile, f"*:*:*:{login.role}:{login.password}\n")
    host.own(passfile)
    address = make_conninfo(host=source.host, port=source.port, user=login.role, dbname="postgres", connect_timeout=5)
    try:
        host.run(
            "pg_rewind",
            f"--target-pgdata={node.data_dir}",
            f"--source-server={address}",
            "--no-ensure-shutdown",
            environment={"PGPASSFILE": str(passfile)},
        )
    finally:
        passfile.unlink()
        # It is part of what a rewind makes equal to the primary.
        node.fence(host)
    succession.say(f"{node.name} rewound to what {primary} has")
