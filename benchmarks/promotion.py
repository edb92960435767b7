"""How long writes are away when the primary dies and is replaced, and whether reads fail meanwhile.

    .venv/bin/python -m benchmarks.promotion [--rounds 5]

Each round starts a system of its own, reads it without a pause, kills the primary with -9, promotes at once,
and measures until the first write is accepted over HTTP.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import httpx

from benchmarks.system import benchmark_cluster
from management.server import ServerOptions, configuration_digest, ensure_server, stop_server
from tests.cluster import Cluster
from tests.ports import free_ports

USERS = 1000


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed."""

    command_seconds: float
    after_command_seconds: float
    reads: int
    failed_reads: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(measure())
        print(f"round {number}: {rounds[-1]}")
    print(f"median of {options.rounds}:")
    print(f"  promote_replica, whole command     {statistics.median(each.command_seconds for each in rounds):.2f} s")
    print(
        f"  its return to the first write      {statistics.median(each.after_command_seconds for each in rounds):.3f} s"
    )
    print(f"  worst                              {max(each.after_command_seconds for each in rounds):.3f} s")
    print(
        f"  reads / failed reads, all rounds   {sum(r.reads for r in rounds)} / {sum(r.failed_reads for r in rounds)}"
    )


def measure() -> Round:
    """One system, one death, one promotion."""
    with benchmark_cluster() as cluster:
        assert cluster.command("migrate", "--verbosity=0").code == 0
        assert cluster.command("seed_users", f"--count={USERS}").code == 0
        port = free_ports(1)
        with _environment(cluster):
            ensure_server(ServerOptions(port, "replication", configuration_digest(cluster.state)), cluster.state)
        try:
            return _fail_over(cluster, f"http://127.0.0.1:{port}")
        finally:
            stop_server(cluster.state)


def _fail_over(cluster: Cluster, base_url: str) -> Round:
    codes: list[int] = []
    stop = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=base_url, timeout=20) as http:
            for number in count():
                if stop.is_set():
                    return
                codes.append(http.get(f"/v0/api/users/{number % USERS + 1}").status_code)

    reader = threading.Thread(target=read)
    reader.start()
    with httpx.Client(base_url=base_url, timeout=20) as http:
        assert _write(http, "before") == 201
        cluster.kill("pg1")
        killed_at = time.monotonic()
        assert cluster.command("promote_replica", "--no-input").code == 0
        returned_at = time.monotonic()
        for number in count():
            if _write(http, f"after{number}") == 201:
                break
        written_at = time.monotonic()
    time.sleep(1)
    stop.set()
    reader.join()
    return Round(
        round(returned_at - killed_at, 3),
        round(written_at - returned_at, 3),
        len(codes),
        sum(code != 200 for code in codes),
    )


def _write(http: httpx.Client, name: str) -> int:
    person = {"email": f"{name}@example.com", "password": "a long password", "firstName": "A", "lastName": "B"}
    return http.post("/v0/api/auth/register", json=person).status_code


@contextmanager
def _environment(cluster: Cluster) -> Iterator[None]:
    """The server is started with the environment of its own cluster."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(cluster.environment(), HIGHLOAD_THROTTLING="false")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
