"""How long a search takes in the database, for every pair of initials, with 1,000,000 users.

    .venv/bin/python -m benchmarks.search [--count 1000000]

Starts a cluster of its own, seeds it, and runs EXPLAIN ANALYZE of the first page of every one-letter
pair (Cyrillic and Latin, mixed pairs that match nobody included) on a replica, then of single names and
longer prefixes. Prints the distribution and names the worst.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Iterable

import psycopg

from benchmarks.system import benchmark_cluster
from management.connection import conninfo
from management.credentials import operator_credentials
from tests.cluster import Cluster

CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщыэюя"
LATIN = "abcdefghijklmnopqrstuvwxyz"
Prefixes = tuple[str, str]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    with benchmark_cluster() as cluster:
        assert cluster.command("migrate", "--verbosity=0").code == 0
        assert cluster.command("seed_users", f"--count={options.count}").code == 0
        os.environ["HIGHLOAD_STATE"] = str(cluster.state.root)
        os.environ["DJANGO_SETTINGS_MODULE"] = "highload.settings"
        print(f"{options.count} users, PostgreSQL {cluster.record.host().installation.major}, on a replica")
        letters = CYRILLIC + LATIN
        measure(cluster, "both, one letter each", itertools.product(letters, letters))
        measure(cluster, "first name, one letter", ((letter, "") for letter in letters))
        measure(cluster, "last name, one letter", (("", letter) for letter in letters))
        measure(cluster, "first name, two letters", ((a + b, "") for a, b in itertools.product(letters, letters)))
        measure(cluster, "last name, two letters", (("", a + b) for a, b in itertools.product(letters, letters)))
        two_each = (("ан", "ив"), ("ан", "ящ"), ("jo", "sm"), ("jo", "zz"), ("ма", "smith"), ("zz", "zz"))
        measure(cluster, "both, longer", two_each)


def measure(cluster: Cluster, name: str, pairs: Iterable[Prefixes]) -> None:
    """Run each once to warm the cache and once to measure; print median, 99th percentile and the worst."""
    parameters = conninfo(cluster.record.node("pg2"), operator_credentials(cluster.state).superuser, dbname="highload")
    with psycopg.connect(**parameters, autocommit=True) as connection:
        times: dict[Prefixes, float] = {}
        for pair in pairs:
            statement = first_page(*pair)
            connection.execute(statement.encode())
            times[pair] = execution_ms(connection, statement)
    ordered = sorted(times.values())
    worst = max(times, key=lambda pair: times[pair])
    print(
        f"  {name:<24} {len(times):>5} searches: median {statistics.median(ordered):.3f} ms, "
        f"99 % {ordered[int(len(ordered) * 0.99)]:.3f} ms, worst {times[worst]:.3f} ms ({'/'.join(worst)})"
    )
    sys.stdout.flush()


def first_page(first_name: str, last_name: str) -> str:
    """The statement the application runs, with its values filled in by the driver."""
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    from django.db import connection

    from users.models import User
    from users.selectors import matching_names

    people = matching_names(User.objects.filter(is_active=True), first_name=first_name, last_name=last_name)
    query, values = people.filter(pk__gt=0).order_by("pk")[:21].query.sql_with_params()
    with connection.cursor() as cursor:
        statement: str = cursor.mogrify(query, values)
    return statement


def execution_ms(connection: psycopg.Connection, statement: str) -> float:
    """Planning and execution, as the server measures them."""
    row = connection.execute(("EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + statement).encode()).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return float(plan[0]["Planning Time"] + plan[0]["Execution Time"])


if __name__ == "__main__":
    main()
