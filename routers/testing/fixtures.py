"""The fixtures of the plugin: what `nodes` and `served` do, handed to a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import pytest

from routers.testing.nodes import Nodes, catch_up
from routers.testing.served import Queries, queries_by_node

_NO_ADMIN: Final = """\
routers.testing needs a superuser of the nodes. Override the fixture in your conftest.py:

    @pytest.fixture(scope="session")
    def node_admin():
        return {"user": "postgres", "password": os.environ["PGPASSWORD"]}

Host and port are those of settings.DATABASES; other keywords of psycopg.connect() may be added."""


@pytest.fixture(scope="session")
def node_admin() -> Mapping[str, Any]:
    """A superuser of every node, as keywords of psycopg.connect(). Override it: this one fails and says how."""
    pytest.fail(_NO_ADMIN, pytrace=False)


@pytest.fixture
def replica_frozen(node_admin: Mapping[str, Any]) -> Callable[..., AbstractContextManager[str]]:
    """A replica shows old data: see `Nodes.frozen`.

    `with replica_frozen("pg2") as alias:`
    """
    return Nodes(node_admin).frozen


@pytest.fixture
def node_killed(
    node_admin: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], AbstractContextManager[None]]:
    """A node is dead: see `Nodes.killed`.

    `with node_killed("pg2"):`
    """
    return partial(Nodes(node_admin).killed, log=tmp_path_factory.mktemp("node_killed") / "output.log")


@pytest.fixture
def promoted(node_admin: Mapping[str, Any]) -> Callable[[str], None]:
    """A replica becomes the primary: see `Nodes.promote`. It cannot be undone: use a cluster made for the test.

    `promoted("pg2")`
    """
    return Nodes(node_admin).promote


@pytest.fixture
def replicas_caught_up() -> Callable[[], None]:
    """The replicas show what is committed: before the test, and after each `replicas_caught_up()`. See `catch_up`."""
    catch_up()
    return catch_up


@pytest.fixture
def served_by() -> Iterator[Queries]:
    """The queries of this test so far: `queries_by_node()` around the whole of it."""
    with queries_by_node() as queries:
        yield queries
