"""Reads what the system holds once the load is over, so that a replica that is behind cannot hide or fake a loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from management.errors import Refused, Unknown
from management.history.client import Answer, Carrier, Client
from management.history.operations import ABSENT, Operation, Outcome
from management.history.outcomes import read_profile, write_outcome
from management.history.people import People, Person
from management.history.session import AUTH, USERS
from management.history.verdict import FinalState
from management.processes import wait_until

FINAL_READ_SECONDS: Final = 10.0
LOGIN_SAMPLE: Final = 5
THROTTLE_PROBES: Final = 12
"""Logins to one account: more than the application allows in a minute unless told otherwise."""


class Canary:
    """A session beside the load. It finds out when writes are made again; its token is newer than all of them."""

    def __init__(self, url: str, people: People, *, timeout_seconds: float, settle_seconds: float) -> None:
        self._url = url
        self._client = Client(url, carrier=Carrier.HEADER, timeout_seconds=timeout_seconds)
        self._people = people
        self._settle_seconds = settle_seconds

    def prepare(self) -> None:
        """Make sure that the system registers people and logs them in, as often as the load needs it.

        Raises:
            Refused: It limits registrations and logins.
            Unknown: It does not answer, or not as this application does, or not within the time.
        """
        person = self._register_in_time(self._require_this_application)
        if person is None:
            raise Unknown(f"{self._url} registered nobody within {self._settle_seconds:g} s; nothing was checked.")
        if not self._may_log_in(person):
            raise Unknown(f"{self._url} registered {person.email} and does not log them in; nothing was checked.")
        for _ in range(THROTTLE_PROBES):
            self._login(person)

    def final_state(self, history: Sequence[Operation]) -> FinalState | None:
        """What is there now, of all that the history tells of; None if the system accepts no write in time."""
        # A new person, because an earlier one may be among what was lost.
        if self._register_in_time() is None:
            return None
        expected = newest_known(history)
        versions, unread = self._read_versions(expected)
        # Whoever is not there at all is lost already.
        people = [person for person in self._people.registered() if versions.get(person.key, ABSENT) != ABSENT]
        sample = people[:: max(1, len(people) // LOGIN_SAMPLE)][:LOGIN_SAMPLE]
        refused = tuple(person.key for person in sample if not self._may_log_in(person))
        return FinalState(versions, refused, unread)

    def _read_versions(self, expected: Mapping[str, int]) -> tuple[Mapping[str, int], tuple[str, ...]]:
        """Each user's version. One that is behind is read again until the time is over: then it is the truth."""
        found: dict[str, int] = {}
        deadline = time.monotonic() + FINAL_READ_SECONDS
        pending = list(expected)
        while pending and time.monotonic() < deadline:
            for key in pending:
                reading = read_profile(self._client.request("GET", f"{USERS}/{key}"))
                if reading.outcome is Outcome.OK and reading.version is not None:
                    found[key] = reading.version
            pending = [key for key in pending if found.get(key, ABSENT) < expected[key]]
            if pending:
                time.sleep(0.1)
        return found, tuple(key for key in expected if key not in found)

    def _may_log_in(self, person: Person) -> bool:
        return wait_until(lambda: self._login(person).status == HTTPStatus.OK, timeout_seconds=FINAL_READ_SECONDS)

    def _register_in_time(self, check: Callable[[Answer], None] | None = None) -> Person | None:
        """Somebody new, as soon as the system registers them; None once the time is over."""
        registered: list[Person] = []

        def is_registered() -> bool:
            person = self._people.invent()
            answer = self._client.request("POST", f"{AUTH}/register", body=person.registration())
            if check is not None:
                check(answer)
            if write_outcome(answer) is Outcome.OK:
                registered.append(person)
            return bool(registered)

        return registered[0] if wait_until(is_registered, timeout_seconds=self._settle_seconds) else None

    def _login(self, person: Person) -> Answer:
        answer = self._client.request("POST", f"{AUTH}/login", body=person.credentials())
        self._require_no_limit(answer)
        return answer

    def _require_this_application(self, answer: Answer) -> None:
        """What waiting will not change is said at once."""
        self._require_no_limit(answer)
        if answer.status is None and not answer.was_sent:
            raise Unknown(f"{self._url} does not answer ({answer.error}); nothing was checked.")
        if write_outcome(answer) is Outcome.FAIL and answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unknown(f"{self._url} answers {answer.status} to a registration: {answer.detail}")

    def _require_no_limit(self, answer: Answer) -> None:
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise throttled(self._url)


def throttled(url: str) -> Refused:
    """The load cannot be what it should, and what it would show is the limits."""
    return Refused(
        f"{url} limits registrations and logins (HTTP 429). To check a system, run it with HIGHLOAD_THROTTLING=false."
    )


def newest_known(history: Sequence[Operation]) -> dict[str, int]:
    """By user of an acknowledged write: the newest version acknowledged or seen. The final state has at least that."""
    newest: dict[str, int] = {}
    for operation in history:
        if operation.is_acknowledged_write:
            newest[operation.key] = max(operation.version or 0, newest.get(operation.key, 0))
    for operation in history:
        if operation.is_answered_read and operation.key in newest:
            newest[operation.key] = max(operation.version or 0, newest[operation.key])
    return newest
