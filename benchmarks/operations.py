"""How long writes are away in a failover and in a switchover, and how long a rejoin takes, beside bare PostgreSQL.

    .venv/bin/python -m benchmarks.operations [--rounds 5] [--users 1000000]

One system, used round after round: the primary is killed and a replica promoted, the old primary rejoins by rewind,
and a switchover hands the primary back. Meanwhile clients write over HTTP without a pause. Beside it, on clusters of
their own: a bare `pg_promote()` after the same kill. Prints the medians and the worst.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise

import httpx
import psycopg

from benchmarks.system import benchmark_cluster
from management.connection import conninfo
from management.credentials import operator_credentials
from management.synchronous import SyncMode
from tests.cluster import Cluster
from tests.system import System, running_system

PAUSE_SECONDS = 0.005


@dataclass
class Writer:
    """Writes without a pause; when each write was acknowledged, in monotonic seconds."""

    system: System
    acknowledged_at: list[float] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until told to stop."""
        with httpx.Client(base_url=self.system.url, timeout=20) as http:
            person = {"email": f"{time.time_ns()}@example.com", "password": "a long password"}
            http.post("/v0/api/auth/register", json={**person, "firstName": "A", "lastName": "B"})
            access = http.post("/v0/api/auth/login", json=person).json()["accessToken"]
            for number in count():
                if self.is_over.is_set():
                    return
                change = {"city": f"v{number}"}
                answer = http.patch("/v0/api/users/me", json=change, headers={"Authorization": f"Bearer {access}"})
                if answer.status_code == httpx.codes.OK:
                    self.acknowledged_at.append(time.monotonic())
                else:
                    time.sleep(PAUSE_SECONDS)

    def longest_gap_seconds(self, since: float) -> float:
        """Between two acknowledgements, from the last one before `since` on."""
        moments = [moment for moment in self.acknowledged_at if moment >= since]
        before = [moment for moment in self.acknowledged_at if moment < since][-1:]
        ordered = [*before, *moments]
        return max((later - earlier for earlier, later in pairwise(ordered)), default=0.0)

    def first_after(self, moment: float) -> float:
        """When the first write after `moment` was acknowledged; waits for it."""
        while not (self.acknowledged_at and self.acknowledged_at[-1] > moment):
            time.sleep(PAUSE_SECONDS)
        return next(each for each in self.acknowledged_at if each > moment)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=1_000_000)
    options = parser.parse_args()
    figures: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        figures.setdefault(name, []).append(seconds)

    for _ in range(options.rounds):
        note("bare pg_promote(), call to first write", bare_promotion_seconds())
    with running_system(f"--users={options.users}") as system:
        for number in range(options.rounds):
            with writing(system) as writer:
                old, new = (system.survey().primary or "", "")
                system.kill(old)
                killed_at = time.monotonic()
                command(system, "promote_replica")
                note("promote_replica, start to first write over HTTP", writer.first_after(killed_at) - killed_at)
                new = system.survey().primary or ""
                started_at = time.monotonic()
                method = command(system, "rejoin_node", old)["method"]
                note(f"rejoin_node by {method}, whole command", time.monotonic() - started_at)
                time.sleep(1)
                started_at = time.monotonic()
                command(system, "switchover", f"--node={old}")
                time.sleep(1)
                note("switchover, longest time without a write", writer.longest_gap_seconds(started_at))
            print(f"round {number + 1}: {new} and back")
    print(f"{options.users} users, medians and worst of {options.rounds} rounds, seconds:")
    for name, seconds in figures.items():
        print(f"  {name:<50} {statistics.median(seconds):6.2f} {max(seconds):6.2f}")


def command(system: System, *arguments: str) -> dict[str, str]:
    """Run it and return its result."""
    done = system.command(*arguments, "--no-input", "--format=json")
    assert done.code == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout)
    return result


@contextmanager
def writing(system: System) -> Iterator[Writer]:
    """A client that writes meanwhile."""
    writer = Writer(system)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        writer.first_after(time.monotonic())
        yield writer
    finally:
        writer.is_over.set()
        thread.join()


def bare_promotion_seconds() -> float:
    """From `SELECT pg_promote()` on the only replica to the first commit there. Asynchronous: nobody confirms."""
    with benchmark_cluster(replicas=1, sync=SyncMode.OFF) as cluster:
        cluster.kill("pg1")
        with connection_to(cluster, "pg2") as connection:
            started_at = time.monotonic()
            connection.execute("SELECT pg_promote()")
            connection.execute("CREATE TABLE written (number int)")
            return time.monotonic() - started_at


def connection_to(cluster: Cluster, node: str) -> psycopg.Connection:
    """As the superuser."""
    login = operator_credentials(cluster.state).superuser
    return psycopg.connect(**conninfo(cluster.record.node(node), login), autocommit=True)


if __name__ == "__main__":
    main()
