"""One session: one thing after another, each recorded. Writes its own people, reads everybody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from typing import Final
from urllib.parse import urlencode

from management.history.client import Answer, Client
from management.history.operations import ABSENT, Kind, Operation, Outcome
from management.history.outcomes import (
    Reading,
    parse_timeline,
    read_login,
    read_own_profile,
    read_profile,
    read_search,
    show_version,
    write_outcome,
)
from management.history.people import People, Person

USERS: Final = "/v0/api/users"
AUTH: Final = "/v0/api/auth"
PAUSE_SECONDS: Final = 0.05
"""After a refusal: a session that asks a dead primary as fast as it can measures only itself."""


class Session:
    """Runs in a thread of its own until told to stop."""

    def __init__(self, number: int, client: Client, people: People, chance: Random) -> None:
        self.history: list[Operation] = []
        self._number = number
        self._client = client
        self._people = people
        self._chance = chance
        self._own: list[Person] = []
        self._writing: Person | None = None
        self._spare: Person | None = None

    def run(self, is_over: threading.Event) -> None:
        """Work until the event is set; the request under way is finished first."""
        while not is_over.is_set():
            self._step()
            last = self.history[-1]
            if last.outcome is not Outcome.OK or last.version == ABSENT:
                is_over.wait(PAUSE_SECONDS)

    def _step(self) -> None:
        person = self._writing
        if person is None:
            self._register()
            return
        # Few registrations and logins: each costs the server 20 to 40 ms of Argon2.
        mix: dict[Callable[[Person], object], float] = (
            {self._login: 4, self._get: 4, self._search: 2, self._register_another: 0.5}
            if person.access is None
            else {
                self._patch_and_look: 28,
                self._get: 8,
                self._get_me: 8,
                self._get_other: 32,
                self._search: 6,
                self._search_other: 10,
                self._login: 0.5,
                self._register_another: 0.15 if self._spare else 3,
            }
        )
        (step,) = self._chance.choices(list(mix), list(mix.values()))
        step(person)

    def _register_another(self, _person: Person) -> None:
        self._register()

    def _register(self) -> None:
        person = self._people.invent()
        answer = self._client.request("POST", f"{AUTH}/register", body=person.registration())
        outcome = write_outcome(answer)
        if outcome is Outcome.OK:
            person.key = str(answer.body["userId"])
        self._record(Kind.REGISTER, person.key or person.email, answer, Reading(0, outcome, answer.detail))
        if outcome is Outcome.OK:
            self._people.publish(person)
            self._own.append(person)
            self._employ(person)
            self._login(person)

    def _employ(self, person: Person) -> None:
        """To be written now, or kept for when the one who is written must be left."""
        if self._writing is None:
            self._writing = person
        else:
            self._writing, self._spare = self._spare or self._writing, person

    def _login(self, person: Person) -> None:
        answer = self._client.request("POST", f"{AUTH}/login", body=person.credentials())
        reading = read_login(answer)
        if reading.outcome is Outcome.OK and reading.version is None:
            person.access = str(answer.body["accessToken"])
        self._record(Kind.LOGIN, person.key, answer, reading)

    def _patch_and_look(self, person: Person) -> None:
        person.version += 1
        body = {"city": show_version(person.version)}
        answer = self._client.request("PATCH", f"{USERS}/me", body=body, access=person.access)
        outcome = write_outcome(answer)
        self._record(Kind.PATCH, person.key, answer, Reading(person.version, outcome, answer.detail))
        if outcome is Outcome.OK:
            self._chance.choice((self._get, self._get, self._get_me, self._search))(person)
        else:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                person.access = None
            self._leave(outcome)

    def _leave(self, outcome: Outcome) -> None:
        """After a write that was not acknowledged, write somebody else.

        Otherwise the first write after a failover would cover the loss of the last one before it.
        """
        if self._spare is not None:
            self._writing, self._spare = self._spare, None
        elif outcome is Outcome.UNKNOWN:
            # It may yet be made, after and over any later one: this person is written no more.
            self._writing = None

    def _get(self, person: Person) -> None:
        """The one who is written, or now and then an earlier one."""
        if self._chance.random() < 0.1:  # noqa: PLR2004 - one in ten
            person = self._chance.choice(self._own)
        self._read_by_id(Kind.GET_OWN, person)

    def _get_me(self, person: Person) -> None:
        answer = self._client.request("GET", f"{USERS}/me", access=person.access)
        reading = read_own_profile(answer)
        if answer.status == HTTPStatus.UNAUTHORIZED and reading.outcome is Outcome.FAIL:
            person.access = None
        self._record(Kind.GET_OWN, person.key, answer, reading)

    def _get_other(self, person: Person) -> None:
        other = self._people.anybody_but(self._own, self._chance)
        self._read_by_id(Kind.GET_OTHER if other else Kind.GET_OWN, other or person)

    def _search_other(self, person: Person) -> None:
        self._search(self._people.anybody_but(self._own, self._chance) or person)

    def _search(self, person: Person) -> None:
        answer = self._client.request("GET", f"{USERS}/search?{urlencode({'lastName': person.last_name})}")
        self._record(Kind.SEARCH, person.key, answer, read_search(answer, key=person.key))

    def _read_by_id(self, kind: Kind, person: Person) -> None:
        answer = self._client.request("GET", f"{USERS}/{person.key}")
        self._record(kind, person.key, answer, read_profile(answer))

    def _record(self, kind: Kind, key: str, answer: Answer, reading: Reading) -> None:
        self.history.append(
            Operation(
                session=self._number,
                kind=kind,
                key=key,
                version=reading.version,
                invoked_at=answer.invoked_at,
                completed_at=answer.completed_at,
                outcome=reading.outcome,
                status=answer.status,
                timeline=parse_timeline(answer.token),
                is_flagged=answer.is_flagged,
                node=answer.node,
                detail=reading.detail,
            )
        )
