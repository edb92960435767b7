"""The load plans, run by JMeter without a window: against a real system, and against answers that are wrong."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from management.processes import wait_until
from management.state import PROJECT_DIR
from tests import programs
from tests.stub import Answer, Asked, stub
from tests.system import System

pytestmark = pytest.mark.once

PLANS = PROJECT_DIR / "jmeter"
MIX = {"mix_login": 20, "mix_profile": 50, "mix_search": 30}
NAMES = [tuple(line.split(",")) for line in (PLANS / "names.csv").read_text().splitlines()[1:]]


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    samples: list[dict[str, str]]
    texts: str
    """Everything it wrote: results, log, output."""

    def labelled(self, label: str) -> list[dict[str, str]]:
        return [sample for sample in self.samples if sample["label"] == label]

    @property
    def outcomes(self) -> set[tuple[str, str, str]]:
        return {(sample["label"], sample["responseCode"], sample["success"]) for sample in self.samples}


@contextmanager
def started(
    plan: str, folder: Path, port: int, *arguments: str, **properties: object
) -> Iterator[subprocess.Popen[str]]:
    """In the given folder, which is not the plan's. Properties are written with `_` for a dot."""
    given = {"port": port, "rampUp": 0, "jmeterengine_nongui_port": 0, "sample_variables": "email", **properties}
    with subprocess.Popen(
        [
            str(programs.jmeter()),
            "-n",
            f"-t{PLANS / plan}",
            "-lresults.csv",
            *(f"-J{name if name == 'sample_variables' else name.replace('_', '.')}={given[name]}" for name in given),
            *arguments,
        ],
        cwd=folder,
        # A virtual machine that starts soon, for runs of a few seconds.
        env={**os.environ, "HEAP": "-Xms128m -Xmx256m", "JVM_ARGS": "-XX:TieredStopAtLevel=1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            # The starter is a shell script; the virtual machine is its child.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def finish(process: subprocess.Popen[str], folder: Path) -> Run:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    results = (folder / "results.csv").read_text()
    samples = list(csv.DictReader(results.splitlines(keepends=True)))
    assert samples, output
    return Run(samples, results + output + (folder / "jmeter.log").read_text())


def run(plan: str, folder: Path, port: int, *arguments: str, **properties: object) -> Run:
    with started(plan, folder, port, *arguments, **properties) as process:
        return finish(process, folder)


def users_file(folder: Path, rows: list[tuple[int, str]]) -> Path:
    """As `manage.py seed_users --export` writes it."""
    path = folder / "users.csv"
    path.write_text("id,email\n" + "".join(f"{number},{email}\n" for number, email in rows))
    return path


def seeded_users(system: System, folder: Path) -> Path:
    with system.database("pg1") as connection:
        rows = connection.execute("SELECT id, email FROM users WHERE id <= 300 AND NOT is_staff ORDER BY id").fetchall()
    return users_file(folder, rows)


def private_file(folder: Path, password: str) -> str:
    path = folder / "private.properties"
    path.write_text(f"password={password}\n")
    return f"-q{path}"


@pytest.fixture(scope="module")
def reading(shared_system: System, tmp_path_factory) -> Run:
    """One run of the mix, looked at from several sides."""
    folder = tmp_path_factory.mktemp("read")
    users = seeded_users(shared_system, folder)
    secret = private_file(folder, shared_system.password)
    port = shared_system.server.options.port
    return run("read.jmx", folder, port, secret, users=users, threads=4, duration=5, **MIX)


class TestRead:
    def test_every_sample_succeeds(self, reading):
        assert reading.outcomes == {("login", "200", "true"), ("profile", "200", "true"), ("search", "200", "true")}

    def test_keeps_to_the_mix(self, reading):
        labels = Counter(sample["label"] for sample in reading.samples)
        assert labels.total() > 20
        shares = {label: 100 * count / labels.total() for label, count in labels.items()}
        assert shares == {
            "login": pytest.approx(20, abs=15),
            "profile": pytest.approx(50, abs=15),
            "search": pytest.approx(30, abs=15),
        }

    def test_finds_people_by_cyrillic_names(self, reading):
        asked = {search_for(sample["URL"]) for sample in reading.labelled("search")}
        assert asked <= set(NAMES)
        assert [name for name in asked if re.search("[а-я]", "".join(name).lower())]

    def test_knows_the_password_and_tells_nobody(self, reading, shared_system):
        assert shared_system.password not in reading.texts

    def test_fails_for_people_who_are_not_there(self, shared_system, tmp_path):
        users = users_file(tmp_path, [(10**9, "nobody@example.com")])
        secret = private_file(tmp_path, shared_system.password)
        mix = {"mix_login": 30, "mix_profile": 40}
        port = shared_system.server.options.port
        absent = run("read.jmx", tmp_path, port, secret, users=users, threads=2, duration=2, **mix)
        assert absent.outcomes == {("login", "401", "false"), ("profile", "404", "false"), ("search", "200", "true")}


class TestRegister:
    def test_registers_new_people_with_all_they_say_of_themselves(self, shared_system, tmp_path):
        done = run("register.jmx", tmp_path, shared_system.server.options.port, threads=2, duration=2)
        assert done.outcomes == {("register", "201", "true")}
        emails = {sample["email"] for sample in done.samples}
        assert len(emails) == len(done.samples)
        with shared_system.database("pg1") as connection:
            rows = connection.execute(
                "SELECT email FROM users WHERE first_name ~ '^[А-Яа-яё]+$' AND last_name ~ '^[А-Яа-яё]+$'"
                " AND birth_date IS NOT NULL AND '' NOT IN (gender, city, biography)"
            )
            assert emails <= {email for (email,) in rows}


class TestFailover:
    def test_writes_and_reads_at_once(self, shared_system, tmp_path):
        users = seeded_users(shared_system, tmp_path)
        both = run("failover.jmx", tmp_path, shared_system.server.options.port, users=users, duration=3)
        assert both.outcomes == {("register", "201", "true"), ("profile", "200", "true"), ("search", "200", "true")}
        assert {"@" in sample["email"] for sample in both.labelled("register")} == {True}
        assert {sample["email"] for sample in both.samples if sample["label"] != "register"} == {""}

    @pytest.mark.slow
    def test_goes_on_over_a_promotion_and_every_acknowledged_person_is_there(self, make_system, tmp_path):
        system = make_system()
        users = seeded_users(system, tmp_path)
        port = system.server.options.port
        results = tmp_path / "results.csv"
        with started("failover.jmx", tmp_path, port, users=users, duration=15) as load:
            assert wait_until(lambda: results.exists() and "register,201" in results.read_text(), timeout_seconds=60)
            system.kill("pg1")
            promoted = system.command("promote_replica", "--no-input")
            promoted_at = time.time() * 1000
            done = finish(load, tmp_path)
        assert promoted.code == 0, promoted.stderr
        registrations = done.labelled("register")
        assert [sample for sample in registrations if sample["responseCode"] == "503"]
        acknowledged = [sample for sample in registrations if sample["success"] == "true"]
        assert [sample for sample in acknowledged if int(sample["timeStamp"]) > promoted_at]
        with system.database(str(system.survey().primary)) as connection:
            there = {email for (email,) in connection.execute("SELECT email FROM users")}
        assert {sample["email"] for sample in acknowledged} <= there
        assert {sample["success"] for sample in done.samples if sample["label"] != "register"} == {"true"}


def search_for(url: str) -> tuple[str, str]:
    """The names in the address; those that are not UTF-8 raise."""
    query = parse_qs(urlsplit(url).query, keep_blank_values=True, errors="strict")
    return query["firstName"][0], query["lastName"][0]


def wrong_answers() -> Callable[[Asked], Answer]:
    """The right codes with wrong bodies."""
    somebody = {"userId": 2, "firstName": "Ъ", "lastName": "Ъ"}
    return lambda asked: {
        "/v0/api/auth/login": Answer(200, {"accessToken": None}),
        "/v0/api/auth/register": Answer(201, {"userId": None}),
        "/v0/api/users/1": Answer(200, somebody),
        "/v0/api/users/search": Answer(200, {"users": [somebody], "nextCursor": None}),
    }[urlsplit(asked.path).path]


@dataclass
class Recovering:
    """Refuses for a second, then knows everybody; each answer sets a cookie that counts."""

    started_at: float | None = None
    refused: int = 0
    served: int = 0

    def __call__(self, asked: Asked) -> Answer:
        self.started_at = self.started_at or time.monotonic()
        if time.monotonic() - self.started_at < 1:
            self.refused += 1
            return Answer(503, {})
        self.served += 1
        return Answer(200, right_answer(asked), {"Set-Cookie": f"seen={self.served}; HttpOnly; Path=/; SameSite=Lax"})


def right_answer(asked: Asked) -> dict[str, object]:
    if is_login(asked):
        return {"accessToken": "a.b.c"}
    first, last = search_for(asked.path)
    return {"users": [{"userId": 1, "firstName": first, "lastName": last}]}


def is_login(asked: Asked) -> bool:
    return asked.path == "/v0/api/auth/login"


class TestAgainstOtherAnswers:
    def test_a_right_code_with_a_wrong_body_is_a_failure(self, tmp_path):
        users = users_file(tmp_path, [(1, "one@example.com")])
        mix = {"mix_login": 30, "mix_profile": 40, "readers": 2, "writers": 1}
        with stub(wrong_answers()) as server:
            done = run("failover.jmx", tmp_path, server.port, users=users, duration=2, **mix)
        assert done.outcomes == {
            ("login", "200", "false"),
            ("profile", "200", "false"),
            ("register", "201", "false"),
            ("search", "200", "false"),
        }

    def test_finding_nobody_is_a_failure(self, tmp_path):
        users = users_file(tmp_path, [(1, "one@example.com")])
        only = {"mix_login": 0, "mix_profile": 0, "mix_search": 100, "threads": 1}
        with stub(lambda _: Answer(200, {"users": [], "nextCursor": None})) as server:
            done = run("read.jmx", tmp_path, server.port, users=users, duration=1, **only)
        assert done.outcomes == {("search", "200", "false")}

    def test_pauses_after_a_failure_and_goes_on_with_cookies_until_somebody_else_logs_in(self, tmp_path):
        users = users_file(tmp_path, [(1, "one@example.com")])
        mix = {"mix_login": 20, "mix_profile": 0, "mix_search": 80, "threads": 1}
        recovering = Recovering()
        with stub(recovering) as server:
            done = run("read.jmx", tmp_path, server.port, users=users, duration=3, **mix)
        # 50 ms after each.
        assert 1 < recovering.refused <= 20
        assert Counter(sample["success"] for sample in done.samples) == {
            "false": recovering.refused,
            "true": recovering.served,
        }
        served = server.asked[recovering.refused :]
        assert {is_login(asked) for asked in served} == {True, False}
        cookies = [asked.headers.get("Cookie") for asked in served]
        before = [None, *(f"seen={number}" for number in range(1, recovering.served))]
        assert cookies == [None if is_login(asked) else cookie for asked, cookie in zip(served, before, strict=True)]
