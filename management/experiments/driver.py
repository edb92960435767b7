"""The built-in load: the mix of `jmeter/*.jmx` and JMeter's result file, for machines without JMeter.

    python -m management.experiments.driver read|failover PROPERTIES RESULTS

A program of its own, so that it does not share an interpreter with what measures.
"""

from __future__ import annotations

import csv
import itertools
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

from management.experiments.load import PLANS, Plan
from management.experiments.results import COLUMNS
from management.history.client import Answer, Carrier, Client

PAUSE_SECONDS: Final = 0.05
"""After a failure, as in the plans."""
_USERS: Final = "/v0/api/users"
_AUTH: Final = "/v0/api/auth"
_MS: Final = 1000
_DEFAULTS: Final = {
    "host": "127.0.0.1",
    "port": "8000",
    "threads": "8",
    "rampUp": "2",
    "duration": "60",
    "users": "users.csv",
    "names": str(PLANS / "names.csv"),
    "mix.login": "5",
    "mix.profile": "65",
    "mix.search": "30",
    "writers": "4",
    "readers": "4",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and whether its answer is the right one."""

    label: str
    method: str
    path: str
    is_right: Callable[[Answer], bool]
    body: Mapping[str, Any] | None = None
    email: str = ""


class Results:
    """The result file, written by all threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._file = file.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)
        # The client's clock is monotonic; the file's is not.
        self._epoch = time.time() - time.monotonic()

    def add(self, asked: Asked, answer: Answer, thread: str) -> bool:
        """Note one answer; whether it was right."""
        is_right = answer.status is not None and _is_right(asked, answer)
        status = str(answer.status or answer.error or "no answer")
        why = "" if is_right else answer.detail or "the body is not what was asked for"
        elapsed = round((answer.completed_at - answer.invoked_at) * _MS)
        begun = round((answer.invoked_at + self._epoch) * _MS)
        # Bytes, threads and the time to connect are not measured.
        seen = (begun, elapsed, asked.label, status, answer.detail, thread, "text", str(is_right).lower(), why)
        row = (*seen, 0, 0, 0, 0, asked.path, elapsed, 0, 0, asked.email)
        with self._lock:
            self._rows.writerow(row)
        return is_right

    def close(self) -> None:
        """All is written."""
        self._file.close()


def _is_right(asked: Asked, answer: Answer) -> bool:
    try:
        return asked.is_right(answer)
    except (KeyError, TypeError, AttributeError):
        # A body of another shape.
        return False


class People:
    """The people and the beginnings of names that a reading load asks for, in a circle."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.password = properties["password"]
        self._lock = threading.Lock()
        self._users = itertools.cycle(_rows(Path(properties["users"])))
        self._names = itertools.cycle(_rows(Path(properties["names"])))

    def user(self) -> tuple[str, str]:
        """Id and e-mail of the next one."""
        with self._lock:
            row = next(self._users)
        return row[0], row[1]

    def name(self) -> tuple[str, str]:
        """The next beginnings of a first and a last name."""
        with self._lock:
            row = next(self._names)
        return row[0], row[1]


def readers(people: People, mix: Mapping[str, float], chance: Random) -> Iterator[Asked]:
    """What one reader asks, for ever."""
    kinds: dict[Callable[[People], Asked], float] = {
        login: mix.get("login", 0.0),
        profile: mix.get("profile", 0.0),
        search: mix.get("search", 0.0),
    }
    while True:
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        yield kind(people)


def login(people: People) -> Asked:
    """A person logs in."""
    _, email = people.user()
    body = {"email": email, "password": people.password}
    return Asked("login", "POST", f"{_AUTH}/login", lambda answer: bool(answer.body.get("accessToken")), body)


def profile(people: People) -> Asked:
    """Somebody's profile by id."""
    user_id, _ = people.user()
    return Asked("profile", "GET", f"{_USERS}/{user_id}", lambda answer: str(answer.body.get("userId")) == user_id)


def search(people: People) -> Asked:
    """People by the beginnings of their names."""
    first, last = people.name()

    def is_right(answer: Answer) -> bool:
        users = answer.body.get("users")
        return (
            isinstance(users, list)
            and bool(users)
            and all(
                user["firstName"].lower().startswith(first.lower())
                and user["lastName"].lower().startswith(last.lower())
                for user in users
            )
        )

    query = urlencode({name: text for name, text in (("firstName", first), ("lastName", last)) if text})
    return Asked("search", "GET", f"{_USERS}/search?{query}", is_right)


def writers() -> Iterator[Asked]:
    """What one writer asks, for ever: to register another person."""
    password = uuid.uuid4().hex
    while True:
        email = f"{uuid.uuid4().hex}@load.example.com"
        body = {
            "email": email,
            "password": password,
            "firstName": "Нагруз",
            "lastName": "Опытов",
            "birthDate": "1990-05-17",
            "gender": "male",
            "city": "Казань",
            "biography": "Зарегистрирован под нагрузкой.",
        }

        def is_right(answer: Answer) -> bool:
            return answer.status == HTTPStatus.CREATED and isinstance(answer.body.get("userId"), int)

        yield Asked("register", "POST", f"{_AUTH}/register", is_right, body, email)


def run(plan: Plan, given: Mapping[str, str], results: Path) -> None:
    """Make the load; blocks for its duration."""
    properties = {**_DEFAULTS, **given}
    people = People(properties)
    mix = {name: float(properties[f"mix.{name}"]) for name in ("login", "profile", "search")}
    out = Results(results)
    streams: list[Iterator[Asked]] = []
    if plan is Plan.READ:
        streams += [readers(people, mix, Random(number)) for number in range(int(properties["threads"]))]  # noqa: S311
    else:
        mix["login"] = 0.0
        streams += [writers() for _ in range(int(properties["writers"]))]
        streams += [readers(people, mix, Random(number)) for number in range(int(properties["readers"]))]  # noqa: S311
    url = f"http://{properties['host']}:{properties['port']}"
    ends_at = time.monotonic() + float(properties["duration"])
    pause_seconds = float(properties["rampUp"]) / max(1, len(streams))

    def new_client() -> Client:
        return Client(url, carrier=Carrier.COOKIE, timeout_seconds=20)

    def work(number: int, stream: Iterator[Asked]) -> None:
        client = new_client()
        for asked in stream:
            if time.monotonic() >= ends_at:
                return
            if asked.label == "login":
                # Somebody else, with a new browser: clients stay on the replica they have seen.
                client = new_client()
            answer = client.request(asked.method, asked.path, body=asked.body)
            if not out.add(asked, answer, f"built-in {number}"):
                time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(streams, start=1)]
    for thread in threads:
        thread.start()
        time.sleep(pause_seconds)
    for thread in threads:
        thread.join()
    out.close()


def _rows(file: Path) -> list[list[str]]:
    """The lines below the heading."""
    with file.open(newline="", encoding="utf-8") as lines:
        _, *rows = csv.reader(lines)
    return rows


def read_properties(file: Path) -> dict[str, str]:
    """`name=value` lines, escaped as `load` does."""
    lines = (line.partition("=") for line in file.read_text(encoding="ascii").splitlines())
    return {name: value.encode("ascii").decode("unicode_escape") for name, _, value in lines}


if __name__ == "__main__":
    run(Plan(sys.argv[1]), read_properties(Path(sys.argv[2])), Path(sys.argv[3]))
