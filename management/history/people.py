"""Who the sessions register, under names and addresses that nobody else has."""

from __future__ import annotations

import itertools
import secrets
import string
from dataclasses import dataclass
from random import Random

from management.history.outcomes import show_version


@dataclass(slots=True)
class Person:
    """One user of the system, written by one session alone."""

    email: str
    last_name: str
    password: str
    key: str = ""
    """The user's id; empty until the registration is acknowledged."""
    version: int = 0
    """The newest that was tried."""
    access: str | None = None
    """The bearer's token; None before the login."""

    def registration(self) -> dict[str, str]:
        """The body of the request."""
        return {**self.credentials(), "firstName": "History", "lastName": self.last_name, "city": show_version(0)}

    def credentials(self) -> dict[str, str]:
        """The body of a login."""
        return {"email": self.email, "password": self.password}


class People:
    """Makes people, and lists those whose registration was acknowledged. Used by all threads."""

    def __init__(self) -> None:
        # Not of the seed: a second run with the same one meets the people of the first.
        self._run = "".join(secrets.choice(string.ascii_lowercase) for _ in range(10))
        self._password = secrets.token_urlsafe(16)
        # Both are atomic under the interpreter's lock: next() of a count, append() of a list.
        self._numbers = itertools.count()
        self._registered: list[Person] = []

    def invent(self) -> Person:
        """Somebody new."""
        number = next(self._numbers)
        # One length, so that no name is the beginning of another.
        name = f"Zz{self._run}{_letters(number)}"
        return Person(f"history-{self._run}-{number}@example.com", name, self._password)

    def publish(self, person: Person) -> None:
        """Let the other sessions read this person."""
        self._registered.append(person)

    def registered(self) -> list[Person]:
        """Everybody so far."""
        return list(self._registered)

    def anybody_but(self, own: list[Person], chance: Random) -> Person | None:
        """Somebody of another session; None if the few tries find nobody."""
        if not self._registered:
            return None
        found = (chance.choice(self._registered) for _ in range(4))
        return next((person for person in found if person not in own), None)


def _letters(number: int) -> str:
    """A number in letters, always five.

    >>> _letters(0), _letters(27)
    ('aaaaa', 'aaabb')
    """
    digits = []
    for _ in range(5):
        number, digit = divmod(number, 26)
        digits.append(string.ascii_lowercase[digit])
    return "".join(reversed(digits))
