"""What the benchmarks run on: a cluster of their own, deleted afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("HIGHLOAD_ARGON2_MEMORY_KIB", "19456")
os.environ.setdefault("HIGHLOAD_ARGON2_TIME_COST", "2")

from management.synchronous import SyncMode
from tests.cluster import Cluster, temporary_state
from tests.ports import free_ports


@contextmanager
def benchmark_cluster(*, replicas: int = 2, sync: SyncMode | None = None) -> Iterator[Cluster]:
    """A primary with replicas, any one of which confirms a commit, as set-up makes it."""
    with temporary_state() as state:
        cluster = Cluster(state)
        cluster.setup(replicas=replicas, sync=sync, base_port=free_ports(replicas + 1))
        try:
            yield cluster
        finally:
            cluster.destroy()
