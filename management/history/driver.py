"""The load: a bounded number of sessions in threads, and what they recorded."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Final

from management.history.client import Carrier, Client
from management.history.operations import Operation, Outcome
from management.history.people import People
from management.history.session import Session

MAX_SESSIONS: Final = 32
BUSY_OPERATIONS: Final = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the load has come."""

    operations: int
    unacknowledged_writes: int
    failed_reads: int
    is_throttled: bool
    """The system limits registrations or logins, so the load cannot be what it should."""


class Driver:
    """Starts the sessions, stops them, and hands out their history."""

    def __init__(
        self, url: str, people: People, *, sessions: int, sends_tokens: bool, seed: int | None, timeout_seconds: float
    ) -> None:
        self._is_over = threading.Event()
        self._sessions = [
            Session(
                number,
                Client(url, carrier=_carrier(number, sends_tokens=sends_tokens), timeout_seconds=timeout_seconds),
                people,
                Random(None if seed is None else seed * MAX_SESSIONS + number),  # noqa: S311 - a mix, not a secret
            )
            for number in range(min(sessions, MAX_SESSIONS))
        ]
        self._threads = ThreadPoolExecutor(len(self._sessions))
        self._running: list[Future[None]] = []

    def start(self) -> None:
        """Let the sessions begin."""
        self._running = [self._threads.submit(session.run, self._is_over) for session in self._sessions]

    def stop(self) -> None:
        """Let the sessions finish their requests; blocks for up to a few request timeouts.

        Raises whatever ended a session before its time: a history with a hole must not be judged.
        """
        self._is_over.set()
        self._threads.shutdown()
        for session in self._running:
            session.result()

    def is_busy(self) -> bool:
        """Whether each session is past its beginnings."""
        return all(len(session.history) >= BUSY_OPERATIONS for session in self._sessions)

    def history(self) -> list[Operation]:
        """What was recorded so far, by the time it began."""
        recorded = [operation for session in self._sessions for operation in list(session.history)]
        return sorted(recorded, key=lambda operation: operation.invoked_at)

    def progress(self) -> Progress:
        """Counts of what was recorded so far."""
        recorded = [operation for session in self._sessions for operation in list(session.history)]
        troubles = Counter(operation.is_write for operation in recorded if operation.outcome is not Outcome.OK)
        is_throttled = any(operation.status == HTTPStatus.TOO_MANY_REQUESTS for operation in recorded)
        return Progress(len(recorded), troubles[True], troubles[False], is_throttled)


def _carrier(number: int, *, sends_tokens: bool) -> Carrier:
    """Half of the sessions like programs, half like browsers."""
    if not sends_tokens:
        return Carrier.NOTHING
    return Carrier.COOKIE if number % 2 else Carrier.HEADER
