"""How long `seed_users` takes, beside a bare COPY of the same rows from a ready file and the same index builds.

    .venv/bin/python -m benchmarks.seeding [--count 1000000] [--rounds 3]

Starts a primary with two replicas of its own, runs both in turn, and prints each time, the medians,
their ratio and the peak memory of the command. The bare side waits for no replica.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.system import benchmark_cluster
from management.connection import conninfo
from management.credentials import Login, read_env_file
from management.seeding.people import COLUMNS, generate_people
from tests.cluster import Cluster

INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'users' AND indexname LIKE 'users\\_search%' ORDER BY 1"
BLOCK_BYTES = 1 << 20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with benchmark_cluster() as cluster, tempfile.TemporaryDirectory() as directory:
        assert cluster.command("migrate", "--verbosity=0").code == 0
        rows = Path(directory) / "rows.tsv"
        write_rows(rows, options.count)
        bare, seeded, peaks = [], [], []
        for number in range(1, options.rounds + 1):
            bare.append(bare_copy(cluster, rows))
            seconds, peak_bytes = seed(cluster, options.count)
            seeded.append(seconds)
            peaks.append(peak_bytes)
            print(f"round {number}: bare {bare[-1]:.2f} s, seed_users {seconds:.2f} s, ratio {seconds / bare[-1]:.2f}")
        print(
            f"median of {options.rounds}, {options.count} users, PostgreSQL {cluster.record.host().installation.major}:"
        )
        print(f"  bare COPY and index builds  {statistics.median(bare):.2f} s")
        print(f"  seed_users, end to end      {statistics.median(seeded):.2f} s")
        print(f"  ratio                       {statistics.median(seeded) / statistics.median(bare):.2f}")
        print(f"  peak memory of seed_users   {max(peaks) / 1e6:.0f} MB")


def write_rows(path: Path, count: int) -> None:
    """The ready file: the very rows that seed_users makes."""
    with path.open("w") as file:
        for batch in generate_people(
            count=count, first_id=1, seed=1, password_hash="$argon2id$" + "x" * 87, joined_at=datetime.now(UTC)
        ):
            file.write(batch.copy_text)


def bare_copy(cluster: Cluster, rows: Path) -> float:
    """Seconds of COPY into the bare table and of the same index builds, as one transaction."""
    values = read_env_file(cluster.state.application_env)
    login = Login(values["HIGHLOAD_DB_USER"], values["HIGHLOAD_DB_PASSWORD"])
    with psycopg.connect(**conninfo(cluster.record.node("pg1"), login, dbname="highload")) as connection:
        indexes = [definition for (definition,) in connection.execute(INDEXES).fetchall()]
        assert len(indexes) == 3, indexes
        connection.execute("TRUNCATE users CASCADE")
        connection.execute("DROP INDEX users_search_both, users_search_first_name, users_search_last_name")
        connection.execute("ALTER TABLE users DROP CONSTRAINT users_email_unique")
        started_at = time.monotonic()
        with (
            connection.cursor().copy(f"COPY users ({', '.join(COLUMNS)}) FROM STDIN (FREEZE)") as copy,
            rows.open("rb") as file,
        ):
            while block := file.read(BLOCK_BYTES):
                copy.write(block)
        connection.execute("ALTER TABLE users ADD CONSTRAINT users_email_unique UNIQUE (email)")
        for definition in indexes:
            connection.execute(definition)
        connection.commit()
        return time.monotonic() - started_at


def seed(cluster: Cluster, count: int) -> tuple[float, int]:
    """Seconds of the whole command as a process, and its peak memory in bytes."""
    started_at = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "manage.py",
            "seed_users",
            f"--count={count}",
            "--replace",
            "--no-input",
            "--format=json",
        ],
        env=cluster.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.monotonic() - started_at, json.loads(done.stdout)["peak_memory_bytes"]


if __name__ == "__main__":
    main()
