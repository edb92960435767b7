"""What a routing decision and a routed read cost, on the running system of HIGHLOAD_STATE.

    .venv/bin/python -m benchmarks.routing

CPU time of this process, its prober included; medians of rounds in which the candidates take turns.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7
DECISIONS = 20_000
READS = 1_500


def main() -> None:
    """Measure and print the table."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "highload.settings")
    import django

    django.setup()
    from routers import reading_from_replica
    from routers.request_state import current_scope, scope
    from routers.router import PrimaryReplicaRouter
    from users.models import User

    router = PrimaryReplicaRouter()

    def decide_in_one_scope() -> None:
        with scope():
            for _ in range(DECISIONS):
                router.db_for_read(User)

    def decide_in_new_scopes() -> None:
        for _ in range(DECISIONS):
            with scope():
                router.db_for_read(User)

    def read(alias: str | None) -> Callable[[], Any]:
        def run() -> None:
            people = User.objects.using(alias) if alias else User.objects
            for _ in range(READS):
                people.get(pk=1)

        return run

    with reading_from_replica():
        User.objects.get(pk=1)
        opened = current_scope()
        node = opened.node if opened else None
        seconds = _alternate([read(None), read(node)], READS)
    routed, direct = (statistics.median(each) for each in seconds)
    same, new = (statistics.median(each) for each in _alternate([decide_in_one_scope, decide_in_new_scopes], DECISIONS))
    print(f"decision, node chosen already      {same * 1e6:8.2f} µs")
    print(f"decision, first of its scope       {new * 1e6:8.2f} µs")
    print(f"get(pk) routed, CPU                {routed * 1e6:8.1f} µs")
    print(f"get(pk) .using({node!r}), CPU        {direct * 1e6:8.1f} µs")
    print(f"ratio                              {routed / direct:8.3f}")


def _alternate(measured: list[Callable[[], Any]], count: int) -> list[list[float]]:
    """CPU seconds of one operation, by round; the candidates take turns, so that a noisy moment meets all."""
    seconds: list[list[float]] = [[] for _ in measured]
    for _ in range(ROUNDS):
        for each, found in zip(measured, seconds, strict=True):
            started_at = time.process_time()
            each()
            found.append((time.process_time() - started_at) / count)
    return seconds


if __name__ == "__main__":
    main()
