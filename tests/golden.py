"""Clusters and systems that are made once a run, stopped and copied: a copy starts in a second.

A copy has the system identifier and the passwords of the others, and its own ports and paths.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from management.host import reachable_directory, shared_directory
from management.local_plan import LocalSetup
from management.local_secrets import ensure_secrets
from management.record import ClusterRecord, require_record, save_record
from management.setup import setup_local, stop_local
from management.state import StateDirectory, make_passable
from tests import warm
from tests.ports import free_ports
from tests.run import environment_of, run_directory

USERS: Final = 300
REPLICAS: Final = 2
"""Of a system."""
VARIABLE: Final = "TESTS_GOLDEN"
_COPIED: Final = ("highload.env", "operator.env")


def silent(_message: str) -> None:
    """Tests read results, not progress."""


def copy_cluster(state: StateDirectory, *, replicas: int) -> None:
    """Put a stopped cluster into this directory: a primary, and replicas any one of which confirms a commit."""

    def make(golden: StateDirectory) -> None:
        setup_local(LocalSetup(replicas=replicas, base_port=free_ports(replicas + 1)), golden, say=silent)

    _copy(_golden(f"cluster-{replicas}", make), state)


def copy_system(state: StateDirectory) -> None:
    """Put a stopped system into this directory: a cluster with the tables, the administrator and 300 people."""

    def make(golden: StateDirectory) -> None:
        copy_cluster(golden, replicas=REPLICAS)
        setup_local(LocalSetup(), golden, say=silent)
        for command in (["migrate", "--verbosity=0"], ["seed_users", f"--count={USERS}"], ["ensure_admin"]):
            done = warm.run(["manage", *command], environment=environment_of(golden))
            assert done.code == 0, done.stderr

    _copy(_golden("system", make), state)


def _golden(name: str, make: Callable[[StateDirectory], None]) -> StateDirectory:
    """The one of this name, made by whichever process of the run is the first to need it."""
    # In the environment, so that a run that a test starts need not make its own.
    home = Path(os.environ.setdefault(VARIABLE, str(run_directory() / "golden")))
    make_passable(home)
    golden = StateDirectory(home / name)
    with (home / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = home / f"{name}.ready"
        if not ready.exists():
            shutil.rmtree(golden.root, ignore_errors=True)
            make(golden)
            _keep_shared_memory_in_files(golden)
            stop_local(require_record(golden), golden, say=silent)
            ready.touch()
    return golden


def _keep_shared_memory_in_files(golden: StateDirectory) -> None:
    """Of its data directory: what a node keeps in /dev/shm stays there when it is killed and not started again."""
    for node in require_record(golden).nodes:
        with (Path(str(node.data_dir)) / "postgresql.conf").open("a") as file:
            file.write("dynamic_shared_memory_type = mmap\n")


def _copy(golden: StateDirectory, state: StateDirectory) -> None:
    """Copy data and secrets; what names ports and paths is set-up's to write, when it starts the copy."""
    state.create()
    record = require_record(golden)
    home = reachable_directory(record.host().account, state.root / "nodes", elsewhere=shared_directory(state))
    for node in record.nodes:
        source = Path(str(node.data_dir))
        subprocess.run(["cp", "-a", "--sparse=always", str(source), str(home / source.name)], check=True)
    for name in _COPIED:
        shutil.copy2(golden.root / name, state.root / name)
    moved = _moved(record, home, free_ports(len(record.nodes)))
    save_record(state, moved)
    ensure_secrets(moved, state)


def _moved(record: ClusterRecord, home: Path, first_port: int) -> ClusterRecord:
    nodes = tuple(
        replace(node, data_dir=str(home / node.name), port=first_port + index)
        for index, node in enumerate(record.nodes)
    )
    return replace(record, nodes=nodes)
