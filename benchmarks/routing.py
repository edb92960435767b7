"""What routing costs: a decision, a routed read, a consistency token; and how many reads replicas keep.

    .venv/bin/python -m benchmarks.routing

Starts a cluster of its own and measures beside each other this project's router, those of django-multidb-router
(its release runs on Django 5.2, no shim) and no router at all. Routers are compared on this project's backend.
The candidates take turns in short rounds; shown are medians, and medians of the ratios within a round.
CPU is that of the thread that runs the code, and that of the process, in which the prober asks the nodes meanwhile.
Statements are what Django's execute wrappers see: BEGIN, COMMIT and health checks are not among them.
"""

from __future__ import annotations

import os
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from itertools import cycle, repeat
from statistics import median
from typing import Any, NamedTuple

from benchmarks.system import benchmark_cluster

REPLICAS = ("pg2", "pg3")
IDLE_SECONDS = 5.0
CLOCKS = (time.thread_time, time.process_time, time.perf_counter)
COUNTED_REQUESTS = 128  # twice the 64 of which one moves to another replica
FRESH_READS = 2_000
FRESH_AGES_SECONDS = (0.0, 0.15)
WRITES_AT_ONCE = 25  # before the pause in which their tokens age
Run = Callable[[], object]
Around = Callable[[], AbstractContextManager[object]]


class Candidate(NamedTuple):
    """One thing to measure, and what must surround it without being measured."""

    name: str
    run: Run
    around: Around = nullcontext


def main() -> None:
    """Start the cluster, measure, print the tables."""
    with benchmark_cluster() as cluster:
        assert cluster.command("migrate", "--verbosity=0").code == 0
        assert cluster.command("seed_users", "--count=100").code == 0
        os.environ.update(cluster.environment(), HIGHLOAD_SERVER_TIMING="true")
        import django

        django.setup()
        from routers import health

        packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "psycopg", "django-multidb-router"))
        print(f"Python {platform.python_version()}, PostgreSQL {cluster.record.host().installation.major}, {packages}")
        for part in (measure_decisions, measure_reads, measure_requests, measure_freshness):
            part()
        health.stop_monitor()


def measure_decisions() -> None:
    """Calls of `db_for_read`, and what opening a scope adds."""
    import multidb  # type: ignore[import-untyped]  # it has no types

    from routers.request_state import scope
    from routers.router import PrimaryReplicaRouter
    from users.models import User

    multidb.replicas = cycle(REPLICAS)
    ours, theirs, pinning = PrimaryReplicaRouter(), multidb.ReplicaRouter(), multidb.PinningReplicaRouter()
    candidates = [
        Candidate("random.choice, the floor", lambda: random.choice(REPLICAS)),
        Candidate("multidb.ReplicaRouter", lambda: theirs.db_for_read(User)),
        Candidate("multidb.PinningReplicaRouter", lambda: pinning.db_for_read(User)),
        Candidate("PrimaryReplicaRouter, later in a scope", lambda: ours.db_for_read(User), scope),
        Candidate("PrimaryReplicaRouter, first, and scope", partial(_inside, scope, lambda: ours.db_for_read(User))),
        Candidate("  that scope with nothing in it", partial(_inside, scope, lambda: None)),
    ]
    compare("decision", candidates, rounds=40, repeats=2_000)


def measure_reads() -> None:
    """`get(pk)` by what chooses its alias, and by the backend it runs on, in turns of two lengths.

    Direct reads have a manager bound to the alias: `using()` would copy the queryset once more than routed reads do.
    Going from node to node has its price, whoever chooses: those reads are apart.
    """
    import multidb
    from django.db import connections, router

    from routers.request_state import scope
    from routers.router import PrimaryReplicaRouter
    from users.models import User

    # The entry is complete by now: its copy on another backend is one more alias of the node.
    for name in ("django.db", "django_prometheus.db"):
        connections.settings[name] = {**connections.settings[REPLICAS[0]], "ENGINE": f"{name}.backends.postgresql"}

    @contextmanager
    def routed_by(chosen: object, node: str | None = None) -> Iterator[None]:
        before, router.routers = router.routers, [chosen]
        multidb.replicas = cycle([node] if node else REPLICAS)
        with ExitStack() as stack:
            if node:
                stack.enter_context(scope()).node = node
            yield
        router.routers = before

    def read(*aliases: str) -> Run:
        managers = cycle([User.objects.db_manager(alias) for alias in aliases or [None]])
        return lambda: next(managers).get(pk=1)

    ours, theirs = (partial(routed_by, each) for each in (PrimaryReplicaRouter(), multidb.ReplicaRouter()))
    ours_on_one, theirs_on_one = (partial(each, REPLICAS[0]) for each in (ours, theirs))
    on_one = [
        Candidate("directly, routers.backend", read(REPLICAS[0]), ours_on_one),
        Candidate("PrimaryReplicaRouter, one scope", read(), ours_on_one),
        Candidate("multidb.ReplicaRouter, one replica", read(), theirs_on_one),
        Candidate("directly, django-prometheus's backend", read("django_prometheus.db"), ours_on_one),
        Candidate("directly, Django's own backend", read("django.db"), ours_on_one),
    ]
    on_two = [
        Candidate("directly, the replicas in turn", read(*REPLICAS), ours),
        Candidate("PrimaryReplicaRouter, a scope each", partial(_inside, scope, read()), ours),
        Candidate("multidb.ReplicaRouter, two replicas", read(), theirs),
    ]
    for rounds, repeats in ((1_500, 4), (24, 500)):
        compare(f"get(pk), {repeats} in a row", on_one, rounds=rounds, repeats=repeats)
        compare(f"get(pk) from two nodes, {repeats} in a row", on_two, rounds=rounds, repeats=repeats)
    before = time.process_time()
    time.sleep(IDLE_SECONDS)
    print(f"  the prober alone: {(time.process_time() - before) / IDLE_SECONDS * 1e3:.1f} ms CPU a second")


def measure_requests() -> None:
    """Whole requests through all middleware, with tokens and without: their cost, and their statements."""
    read, write = application()
    read_again = partial(read, token=read().headers["Consistency-Token"])
    for name, run in (("GET, first of a client", read), ("GET, with its token", read_again), ("PATCH", write)):
        settings: dict[str, Around] = {"tokens off": partial(routing, CONSISTENCY_TOKENS=False), "tokens on": routing}
        candidates = [Candidate(label, run, around) for label, around in settings.items()]
        compare(name, candidates, rounds=120, repeats=40)
        for label, _, around in candidates:
            with around(), counted(made := Counter[str]()):
                for _ in range(COUNTED_REQUESTS):
                    run()
            print(f"  {label}: {_of_one(made, COUNTED_REQUESTS)}")


def measure_freshness() -> None:
    """Which node serves a read whose client has just written, why, and what finding it costs."""
    read, write = application()
    for age_seconds in FRESH_AGES_SECONDS:
        made, served = Counter[str](), Counter[str]()
        at_once = WRITES_AT_ONCE if age_seconds else 1
        for _ in range(FRESH_READS // at_once):
            tokens = [write().headers["Consistency-Token"] for _ in range(at_once)]
            time.sleep(age_seconds)
            with counted(made):
                # db;desc="pg2 caught_up"
                served.update(read(token=token).headers["Server-Timing"].split('"')[1] for token in tokens)
        by_replica = sum(count for what, count in served.items() if not what.startswith("default")) / FRESH_READS
        print(f"\n{FRESH_READS:,} GETs, each {age_seconds:.2f} s or more after a PATCH: {by_replica:.2%} by a replica")
        print(f"  {_of_one(made, FRESH_READS)}; {dict(served.most_common())}")


def application() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """GET and PATCH of the first user's profile. They bring no token but the one they are given."""
    from django.test import Client
    from rest_framework_simplejwt.tokens import AccessToken

    from routers.token import verify
    from users.models import User

    client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {AccessToken.for_user(User(pk=1))}"})

    def send(method: str, path: str, body: str = "", token: str = "") -> Any:
        client.cookies.clear()
        verify.cache_clear()  # As if each token came from another client.
        answer = client.generic(method, path, body, "application/json", headers={"consistency-token": token})
        assert answer.status_code == 200, answer.content
        return answer

    return partial(send, "GET", "/v0/api/users/1"), partial(send, "PATCH", "/v0/api/users/me", '{"city": "X"}')


@contextmanager
def routing(**changed: object) -> Iterator[None]:
    """Change settings of routing. That starts another prober: wait here for its first answers."""
    from django.conf import settings
    from django.test import override_settings

    from routers import health

    with override_settings(ROUTERS={**settings.ROUTERS, **changed}):
        health.topology()
        yield


@contextmanager
def counted(statements: Counter[str]) -> Iterator[None]:
    """Count the statements on all aliases, by the role of the node."""
    from django.db import connections

    def note(execute: Callable[..., Any], *statement: Any) -> Any:
        statements["primary" if statement[-1]["connection"].alias == "default" else "replicas"] += 1
        return execute(*statement)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(note))
        yield


def _of_one(statements: Counter[str], requests: int) -> str:
    return ", ".join(f"{statements[role] / requests:.2f} statements on {role}" for role in ("primary", "replicas"))


def _inside(around: Around, run: Run) -> None:
    with around():
        run()


def compare(title: str, candidates: Sequence[Candidate], *, rounds: int, repeats: int) -> None:
    """Let the candidates take turns, in a new order each round; print medians, and ratios to the first."""
    found: dict[str, list[list[float]]] = {name: [] for name, _, _ in candidates}
    for _ in range(rounds):
        for name, run, around in random.sample(candidates, len(candidates)):
            with around():
                run()
                before = [clock() for clock in CLOCKS]
                for _ in repeat(None, repeats):
                    run()
                found[name].append([(clock() - start) / repeats for clock, start in zip(CLOCKS, before, strict=True)])
    print(f"\n{title:<46}CPU µs: thread  process   elapsed µs   × thread  × process")
    for name, costs in found.items():
        thread, process, elapsed = (median(kind) * 1e6 for kind in zip(*costs, strict=True))
        rounds_of_both = list(zip(costs, found[candidates[0].name], strict=True))
        by_thread, by_process = (median(own[kind] / base[kind] for own, base in rounds_of_both) for kind in (0, 1))
        print(f"  {name:<44}{thread:>14.2f} {process:>8.2f} {elapsed:>12.2f} {by_thread:>10.3f} {by_process:>10.3f}")


if __name__ == "__main__":
    main()
