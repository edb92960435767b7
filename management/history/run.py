"""One run of the history checker, from the load to the verdict. A library: the command shows what it returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from management.history.driver import Driver
from management.history.final import Canary, throttled
from management.history.judge import UNBOUNDED
from management.history.operations import Operation
from management.history.people import People
from management.history.report import Report, conclude
from management.history.verdict import Bounds, FinalState
from management.processes import wait_until

PROGRESS_SECONDS: Final = 5.0
BUSY_SECONDS: Final = 10.0
"""How long what is to be broken is given to get under load first."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is made."""

    sends_tokens: bool = True
    """False is the live control: clients that do not bring their token back."""
    seed: int | None = None
    """Of the mix of operations; None for another one each time."""
    bounds: Bounds = UNBOUNDED
    request_timeout_seconds: float = 10.0
    settle_seconds: float = 30.0
    """For the system to accept writes, before the load and after it."""


@dataclass(frozen=True, slots=True)
class HistoryRun:
    """A run and all that it recorded."""

    report: Report
    history: tuple[Operation, ...]
    final: FinalState
    """Empty if the system accepted no write after the load."""


DEFAULTS: Final = RunOptions()


def run_history(
    url: str,
    *,
    seconds: float = 60.0,
    sessions: int = 8,
    during: Callable[[], None] | None = None,
    options: RunOptions = DEFAULTS,
    say: Callable[[str], None] | None = None,
) -> HistoryRun:
    """Load the system, read what it holds afterwards, and judge. Blocks; Ctrl-C ends the load and is judged too.

    Args:
        url: Of the application's root.
        seconds: How long the load lasts; longer if `during` takes longer.
        sessions: How many at a time, at most `driver.MAX_SESSIONS`.
        during: Runs in this thread once the load is on, to break things. What it raises ends the run.
        options: What is rarely changed.
        say: For lines of progress.

    Raises:
        Refused: The system limits registrations or logins.
        Unknown: It cannot be loaded at all.
    """
    people = People()
    canary = Canary(url, people, timeout_seconds=options.request_timeout_seconds, settle_seconds=options.settle_seconds)
    canary.prepare()
    driver = Driver(
        url,
        people,
        sessions=sessions,
        sends_tokens=options.sends_tokens,
        seed=options.seed,
        timeout_seconds=options.request_timeout_seconds,
    )
    started_at = time.monotonic()
    is_interrupted = _load(driver, seconds, during, say or _silent)
    lasted_seconds = time.monotonic() - started_at
    if driver.progress().is_throttled:
        raise throttled(url)
    history = tuple(driver.history())
    final = canary.final_state(history)
    report = conclude(history, final, options.bounds, seconds=lasted_seconds, is_interrupted=is_interrupted)
    return HistoryRun(report, history, final or FinalState({}))


def _load(driver: Driver, seconds: float, during: Callable[[], None] | None, say: Callable[[str], None]) -> bool:
    """Let the load run; True if Ctrl-C ended it."""
    started_at = time.monotonic()
    driver.start()
    try:
        if during is not None:
            wait_until(driver.is_busy, timeout_seconds=BUSY_SECONDS)
            during()
        _watch(driver, started_at, seconds, say)
    except KeyboardInterrupt:
        # One that reached `during` may have left something broken: that is not for this room to judge.
        if during is not None:
            raise
        return True
    finally:
        driver.stop()
    return False


def _watch(driver: Driver, started_at: float, seconds: float, say: Callable[[str], None]) -> None:
    """Wait for the end, saying how it goes."""
    next_line_at = PROGRESS_SECONDS
    while (elapsed_seconds := time.monotonic() - started_at) < seconds:
        time.sleep(min(1.0, seconds - elapsed_seconds))
        progress = driver.progress()
        if progress.is_throttled:
            return
        if time.monotonic() - started_at >= next_line_at:
            next_line_at += PROGRESS_SECONDS
            say(
                f"{time.monotonic() - started_at:.0f} s: {progress.operations} operations, "
                f"{progress.unacknowledged_writes} writes not acknowledged, {progress.failed_reads} reads failed"
            )


def _silent(_message: str) -> None:
    """For callers who only want the result."""
