"""A system with monitoring, and what happened to it: load, a lagging replica, a failover, two primaries.

Tests ask its Prometheus what it saw of that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from management.processes import wait_until
from tests.ports import free_ports
from tests.programs import program
from tests.system import USERS, System, running_system

PROFILES_READ = 60
_PACKAGES = "apt-get install prometheus prometheus-postgres-exporter prometheus-node-exporter"


@dataclass(frozen=True)
class Prometheus:
    """Questions to a real Prometheus."""

    port: int

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def now(self, expression: str) -> list[dict[str, Any]]:
        return self.ask("query", query=expression)["result"]

    def over(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        return self.ask("query_range", query=expression, start=start, end=end, step="1s")["result"]

    def label_values(self, series: str, label: str) -> list[str]:
        return self.ask(f"label/{label}/values", **{"match[]": series})

    def is_firing(self, alert: str) -> bool:
        return bool(self.now(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))

    def sees_all(self) -> bool:
        targets = self.ask("targets")["activeTargets"]
        return len(targets) == 6 and all(target["health"] == "up" for target in targets)


@dataclass(frozen=True)
class Monitored:
    """The system after all that, and when it was."""

    system: System
    prometheus: Prometheus
    start: float
    killed: float
    end: float

    def saw(self, expression: str) -> list[dict[str, Any]]:
        return self.prometheus.over(expression, self.start, self.end)


@contextmanager
def monitored_system() -> Iterator[Monitored]:
    """Start it, live through it, and leave it to the tests as it is then: pg2 leads, pg1 is an old primary."""
    for name in ("prometheus", "prometheus-postgres-exporter", "prometheus-node-exporter"):
        program(name, package=_PACKAGES)
    port = free_ports(5)
    with running_system("--monitoring", f"--prometheus-port={port}") as system:
        prometheus = Prometheus(port)
        assert wait_until(prometheus.sees_all, timeout_seconds=60)
        start = time.time()
        _serve(system)
        _lag(system)
        _lose_connections(system)
        with _reading(system):
            killed = _fail_over(system, prometheus)
        _start_old_primary(system, prometheus)
        # A query over time goes in whole steps: the last one must not end before what was seen last.
        yield Monitored(system, prometheus, start, killed, time.time() + 1)


def _register(http: httpx.Client) -> int:
    person = {
        "email": f"{time.monotonic_ns()}@example.com",
        "password": "correct horse 1",
        "firstName": "Анна",
        "lastName": "Каренина",
    }
    return http.post("/v0/api/auth/register", json=person).status_code


def _search(http: httpx.Client) -> int:
    return http.get("/v0/api/users/search", params={"firstName": "А", "lastName": "К"}).status_code


def _serve(system: System) -> None:
    """Everything that clients do, and a page that is not there."""
    for number in range(PROFILES_READ):
        # A connection of its own: the next worker answers.
        with system.http as http:
            assert http.get(f"/v0/api/users/{number % USERS + 1}").status_code == 200
    (email,) = system.emails(1)
    with system.http as http:
        assert http.post("/v0/api/auth/login", json={"email": email, "password": system.password}).status_code == 200
        assert [_register(http), _search(http), http.get("/nowhere").status_code] == [201, 200, 404]


def _lag(system: System) -> None:
    """What a client has written is on no replica: its reads wait, then go to the primary."""
    with system.replay_paused("pg2"), system.replay_paused("pg3"), system.http as http:
        assert _register(http) == 201
        for _ in range(4):
            assert _search(http) == 200
        # Shown by one scrape at least.
        time.sleep(1.5)


def _lose_connections(system: System) -> None:
    """Reads whose connection is gone are run elsewhere."""
    for name in ("pg2", "pg3"):
        with system.superuser(name) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'highload'")
    for _ in range(10):
        with system.http as http:
            assert _search(http) == 200


@contextmanager
def _reading(system: System) -> Iterator[None]:
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.05):
            with system.http as http:
                _search(http)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()


def _fail_over(system: System, prometheus: Prometheus) -> float:
    killed = time.time()
    system.kill("pg1")
    with system.http as http:
        assert wait_until(lambda: _register(http) == 503, timeout_seconds=60)
        assert wait_until(lambda: prometheus.is_firing("NoPrimary"), timeout_seconds=60)
        promoted = system.command("promote_replica", "--no-input")
        assert promoted.code == 0, promoted.stderr
        assert wait_until(lambda: _register(http) == 201, timeout_seconds=60)
    return killed


def _start_old_primary(system: System, prometheus: Prometheus) -> None:
    """By hand, without its fence."""
    node = system.node("pg1")
    (node.data_dir / "standby.signal").unlink()
    system.start("pg1")
    assert wait_until(lambda: prometheus.is_firing("TwoPrimaries"), timeout_seconds=60)
