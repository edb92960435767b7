"""Whether every acknowledged write survives the death of the primary, round after round.

    .venv/bin/python -m benchmarks.durability [--rounds 100]

One cluster. In each round a client inserts numbered rows, the primary is killed with -9 in the middle, a replica is
promoted, every acknowledged number is looked for on it, and the old primary rejoins by rewind. The last round is the
control: without synchronous replication, and with a primary that goes on alone for a moment, writes must be lost.
Exit code 1 if one was lost before, or none in the control.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from itertools import count
from random import uniform

import psycopg

from benchmarks.system import benchmark_cluster
from management.candidate import Risks
from management.connection import conninfo
from management.credentials import operator_credentials
from management.promotion import Promotion
from management.rejoin import Rejoin
from management.succession import Succession
from management.synchronous import SyncMode
from tests.cluster import Cluster
from tests.faults import cut_off_and_kill

TIMEOUT_SECONDS = 30.0


class Writer:
    """Inserts the numbers from `first` on into the primary, each in a transaction of its own."""

    def __init__(self, cluster: Cluster, *, first: int) -> None:
        self.acknowledged: list[int] = []
        self._cluster = cluster
        self._first = first
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end, which is that of its primary."""
        self._thread.join()

    def _run(self) -> None:
        record, login = self._cluster.record, operator_credentials(self._cluster.state).superuser
        try:
            with psycopg.connect(**conninfo(record.node(str(record.primary)), login), autocommit=True) as connection:
                for number in count(self._first):
                    connection.execute("INSERT INTO written VALUES (%s)", [number])
                    self.acknowledged.append(number)
        except psycopg.OperationalError:
            return


def main() -> int:
    """Run the rounds and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    acknowledged, lost, rewound, first = 0, 0, 0, 1
    with benchmark_cluster() as cluster:
        with cluster.superuser("pg1") as connection:
            connection.execute("CREATE TABLE written (number bigint PRIMARY KEY)")
        for number in range(1, options.rounds + 1):
            written = one_round(cluster, first=first)
            acknowledged += len(written)
            lost += len(missing(cluster, written))
            rewound += rejoin(cluster) == "rewind"
            # What was in flight may be there too, unacknowledged.
            first = max([first, *written]) + 1000
            if number % 10 == 0:
                print(f"{number} rounds: {acknowledged} acknowledged writes, {lost} lost, {rewound} rejoined by rewind")
                sys.stdout.flush()
    lost_alone = control()
    print(f"control, asynchronous and cut off: {lost_alone} lost")
    return 0 if not lost and lost_alone else 1


def one_round(cluster: Cluster, *, first: int) -> list[int]:
    """Write, kill, promote; the numbers that were acknowledged."""
    writer = Writer(cluster, first=first)
    time.sleep(uniform(0.05, 0.5))
    cluster.kill(str(cluster.record.primary))
    writer.join()
    promote(cluster, Risks())
    return writer.acknowledged


def promote(cluster: Cluster, risks: Risks) -> None:
    """As the command does it, in this process."""
    promotion = Promotion(succession(cluster), risks)
    promotion.carry_out(promotion.plan())


def rejoin(cluster: Cluster) -> str:
    """Bring the fenced node back; by which method."""
    (name,) = (node.name for node in cluster.record.nodes if node.fenced)
    coming_back = Rejoin(succession(cluster), name)
    return coming_back.carry_out(coming_back.plan()).method


def succession(cluster: Cluster) -> Succession:
    """For the cluster as it is recorded now."""
    credentials = operator_credentials(cluster.state)
    return Succession(cluster.record, credentials, cluster.state, TIMEOUT_SECONDS, lambda _: None)


def missing(cluster: Cluster, numbers: list[int]) -> set[int]:
    """Which of them the primary does not have."""
    with cluster.superuser(str(cluster.record.primary)) as connection:
        rows = connection.execute("SELECT number FROM written WHERE number = ANY(%s)", [numbers]).fetchall()
    return set(numbers) - {number for (number,) in rows}


def control() -> int:
    """How many acknowledged writes are lost without synchronous replication by a primary that was alone at last."""
    with benchmark_cluster(sync=SyncMode.OFF) as cluster:
        with cluster.superuser("pg1") as connection:
            connection.execute("CREATE TABLE written (number bigint PRIMARY KEY)")
        time.sleep(1)
        writer = Writer(cluster, first=1)
        cut_off_and_kill(cluster, "pg1", meanwhile=lambda: time.sleep(0.5))
        writer.join()
        promote(cluster, Risks(accept_data_loss=True))
        return len(missing(cluster, writer.acknowledged))


if __name__ == "__main__":
    sys.exit(main())
