"""What an answer proves about the operation. Pure; a doubt about a write is `unknown`, never `fail`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from management.history.client import Answer
from management.history.operations import ABSENT, Outcome
from routers.token import Token

NOT_MADE: Final = "not made"
"""The words by which the server promises that a refused write left nothing behind."""
NO_LONGER_EXISTS: Final = "no longer exists"
"""The words of a 401 about the bearer's user, as against one about the bearer's token."""
_VERSION: Final = re.compile(r"v(\d{6,})")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read showed."""

    version: int | None
    """ABSENT for nobody; None if it showed no version."""
    outcome: Outcome
    detail: str = ""


def show_version(version: int) -> str:
    """A version as the city of a profile.

    >>> show_version(42)
    'v000042'
    """
    return f"v{version:06d}"


def parse_version(city: object) -> int | None:
    """The version in the city of a profile; None if there is none.

    >>> parse_version("v000042"), parse_version("Москва")
    (42, None)
    """
    found = _VERSION.fullmatch(city) if isinstance(city, str) else None
    return int(found[1]) if found else None


def parse_timeline(token: str | None) -> int | None:
    """The timeline in a consistency token, unverified; None if there is none.

    >>> parse_timeline("66f2a-1f-3000148-pg-2.kX9"), parse_timeline("-"), parse_timeline(None)
    (31, None, None)
    """
    try:
        return Token.parse((token or "").rpartition(".")[0]).timeline
    except ValueError:
        return None


def write_outcome(answer: Answer) -> Outcome:
    """Whether a write was made."""
    if answer.status is None:
        return Outcome.UNKNOWN if answer.was_sent else Outcome.FAIL
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.OK
    if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Outcome.FAIL
    is_promised = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and NOT_MADE in answer.detail
    return Outcome.FAIL if is_promised else Outcome.UNKNOWN


def read_profile(answer: Answer) -> Reading:
    """A profile by its id; nobody for a 404."""
    return Reading(ABSENT, Outcome.OK, "by id") if answer.status == HTTPStatus.NOT_FOUND else _profile(answer, "by id")


def read_own_profile(answer: Answer) -> Reading:
    """The bearer's profile; nobody for a 401 that says so."""
    if answer.status == HTTPStatus.UNAUTHORIZED and NO_LONGER_EXISTS in answer.detail:
        return Reading(ABSENT, Outcome.OK, "me")
    return _profile(answer, "me")


def read_login(answer: Answer) -> Reading:
    """A login with the right password: proof that the person is there, or is not."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return Reading(ABSENT, Outcome.OK)
    return Reading(None, Outcome.OK) if isinstance(answer.body.get("accessToken"), str) else _failed(answer)


def read_search(answer: Answer, *, key: str) -> Reading:
    """A search for the name that only this person has."""
    people = answer.body.get("users")
    if answer.status != HTTPStatus.OK or not isinstance(people, list):
        return _failed(answer)
    found = [person for person in people if str(person.get("userId")) == key]
    if not found:
        return Reading(ABSENT, Outcome.OK)
    version = parse_version(found[0].get("city"))
    return _failed(answer) if version is None else Reading(version, Outcome.OK)


def _profile(answer: Answer, way: str) -> Reading:
    version = parse_version(answer.body.get("city")) if answer.status == HTTPStatus.OK else None
    return _failed(answer) if version is None else Reading(version, Outcome.OK, way)


def _failed(answer: Answer) -> Reading:
    return Reading(None, Outcome.FAIL, answer.detail or "not the answer of this interface")
