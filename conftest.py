"""Fixtures of the whole suite: one shared cluster, and clusters of one's own to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from psycopg import sql

from management.credentials import operator_credentials
from routers import health
from tests.cluster import Cluster, temporary_state
from tests.monitored import Monitored, monitored_system
from tests.ports import free_ports
from tests.settings import BASE_PORT, NODE_COUNT, STATE
from tests.system import System, running_system

pytest_plugins = ["routers.testing"]
ALIASES = ["default", *(f"pg{number + 1}" for number in range(NODE_COUNT))]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The suite's cluster: a primary and two replicas, any one of which confirms a commit. Leave it as it was."""
    shared = Cluster(STATE)
    shared.setup(base_port=BASE_PORT)
    with shared.superuser("pg1") as connection:
        # For the test database. The application itself never needs it.
        connection.execute(sql.SQL("ALTER ROLE highload CREATEDB"))
    yield shared
    health.stop_monitor()
    shared.destroy()


@pytest.fixture(scope="session")
def node_admin(cluster: Cluster) -> dict[str, str]:
    """What `routers.testing` connects with."""
    login = operator_credentials(cluster.state).superuser
    return {"user": login.role, "password": login.password}


@pytest.fixture(scope="session")
def django_db_modify_db_settings(cluster: Cluster) -> None:
    """pytest-django makes its test database after this."""


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """Clusters to break: `make_cluster(replicas=2, sync=…)`."""
    made: list[Cluster] = []
    contexts = []

    def make(**wanted: Any) -> Cluster:
        context = temporary_state()
        contexts.append(context)
        one = Cluster(context.__enter__())
        one.setup(base_port=free_ports(wanted.get("replicas", 2) + 1), **wanted)
        made.append(one)
        return one

    yield make
    for one in made:
        one.destroy()
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def make_system() -> Iterator[Callable[..., System]]:
    """Systems to break: `make_system("--sync=quorum", variables={…})`."""
    with ExitStack() as started:
        yield lambda *arguments, **options: started.enter_context(running_system(*arguments, **options))


@pytest.fixture(scope="module")
def shared_system() -> Iterator[System]:
    """A system for the tests of a module that break nothing. They add people to it."""
    with running_system() as system:
        yield system


@pytest.fixture(scope="session")
def monitored() -> Iterator[Monitored]:
    """A system with monitoring that has lived through load, lag, a failover and a split brain. Ask what was seen."""
    with monitored_system() as shared:
        yield shared
