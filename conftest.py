"""Fixtures of the whole suite: one shared cluster, and clusters of one's own to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from psycopg import sql

from management.credentials import operator_credentials
from routers import health
from tests.cluster import Cluster, copied_cluster
from tests.monitored import Monitored, monitored_system
from tests.settings import BASE_PORT, NODE_COUNT, STATE
from tests.system import PATIENT, System, copied_system

pytest_plugins = ["routers.testing"]
ALIASES = ["default", *(f"pg{number + 1}" for number in range(NODE_COUNT))]
SHARED = {"shared_system", "monitored", "first_start"}
"""Fixtures of several tests, which therefore one worker of pytest-xdist runs."""
REPLICATED = {"make_cluster", "make_system", *SHARED}


# First: markers are chosen by afterwards.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs replicas, and what belongs together."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & REPLICATED:
            item.add_marker(pytest.mark.replication)
        if fixtures & SHARED:
            item.add_marker(pytest.mark.xdist_group("monitored" if "monitored" in fixtures else item.path.stem))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The suite's cluster: a primary and two replicas, any one of which confirms a commit. Leave it as it was.

    Where no test has the marker `replication`, the primary is alone: a test without the marker needs no replica.
    """
    needs_replicas = any(item.get_closest_marker("replication") for item in request.session.items)
    shared = Cluster(STATE)
    shared.setup(base_port=BASE_PORT, replicas=NODE_COUNT - 1 if needs_replicas else 0)
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
    """Clusters to break: `make_cluster(replicas=1, sync="off")`."""
    with ExitStack() as started:
        yield lambda **wanted: started.enter_context(copied_cluster(**wanted))


@pytest.fixture
def make_system() -> Iterator[Callable[..., System]]:
    """Systems to break: `make_system(sync="off", variables={…})`."""
    with ExitStack() as started:
        yield lambda **wanted: started.enter_context(copied_system(**wanted))


@pytest.fixture(scope="module")
def shared_system() -> Iterator[System]:
    """A system for the tests of a module that break nothing. They add people to it."""
    with copied_system(variables=PATIENT) as system:
        yield system


@pytest.fixture(scope="session")
def monitored() -> Iterator[Monitored]:
    """A system with monitoring that has lived through load, lag, a failover and a split brain. Ask what was seen."""
    with monitored_system() as shared:
        yield shared
