"""Makes one seeding, with a progress bar on stderr. Needs the application."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.contrib.auth.hashers import make_password
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from management.output import show_bytes
from management.seeding.load import LagWatch, await_replicas, load_users
from management.seeding.people import generate_people
from management.seeding.task import Seeded, SeedOptions, SeedSummary

_KIB: Final = 1024


def run_seeding(options: SeedOptions) -> Seeded:
    """Generate the people, load them, wait for the replicas.

    Raises:
        Refused: The table is not empty, and neither `replace` nor `append` was asked for.
    """
    started_at = time.monotonic()
    watch = LagWatch(options.max_lag_bytes)
    password_hash = make_password(options.password)
    now = timezone.now()
    with _progress_bar(options.count, watch) as progress:
        first_id = load_users(
            lambda first: generate_people(
                count=options.count,
                first_id=first,
                seed=options.seed,
                password_hash=password_hash,
                joined_at=now,
            ),
            replace=options.replace,
            append=options.append,
            export=options.export,
            watch=watch,
            progress=progress,
        )
        progress.phase("replicas catch up")
        catching_up_at = time.monotonic()
        behind = await_replicas(watch, timeout_seconds=options.timeout_seconds)
    ended_at = time.monotonic()
    summary = SeedSummary(
        users=options.count,
        first_id=first_id,
        last_id=first_id + options.count - 1,
        seconds=round(ended_at - started_at, 2),
        seconds_waiting_for_replicas=round(ended_at - catching_up_at + watch.waited_seconds, 2),
        seconds_catching_up=round(ended_at - catching_up_at, 2),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB,
        highest_lag_bytes=watch.highest_bytes,
        export=str(options.export) if options.export else None,
    )
    return Seeded(summary, behind)


class _LagColumn(ProgressColumn):
    def __init__(self, watch: LagWatch) -> None:
        super().__init__()
        self._watch = watch

    def render(self, task: Task) -> Text:
        """The lag of each replica now."""
        lags = self._watch.look()
        return Text(
            "lag " + "  ".join(f"{name} {show_bytes(lag)}" for name, lag in sorted(lags.items())) if lags else ""
        )


class _Bar:
    """Shows the phases of a load as one bar for the rows and a word for the rest."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._task = progress.add_task("copy", total=count)

    def phase(self, name: str) -> None:
        """Another phase begins."""
        self._progress.update(self._task, description=name)

    def rows(self, count: int) -> None:
        """So many more rows were sent."""
        self._progress.advance(self._task, count)


@contextmanager
def _progress_bar(count: int, watch: LagWatch) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description:<29}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        _LagColumn(watch),
    )
    with Progress(*columns, console=Console(file=sys.stderr, color_system=None), refresh_per_second=5) as progress:
        yield _Bar(progress, count)
