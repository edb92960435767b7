"""Falling back to the primary within its budget, and what the answer says, on real replicas that are held back."""

import subprocess
import sys
import time
from collections import Counter

import pytest
from django.test import Client

from conftest import ALIASES
from management.processes import wait_until
from management.state import PROJECT_DIR
from routers import health, placement
from routers.errors import PrimaryOverloaded
from routers.lsn import Lsn
from routers.request_state import Truth, scope
from routers.router import PrimaryReplicaRouter
from routers.selection import Reason
from routers.token import Token, verify
from users.models import User

pytestmark = [pytest.mark.replication, pytest.mark.django_db(transaction=True, databases=ALIASES)]
PERSON = {"email": "a@example.com", "password": "correct horse 1", "firstName": "Anna", "lastName": "K"}


@pytest.fixture
def unmet(cluster):
    """A token that no replica has reached, while it lasts."""
    with cluster.replay_paused("pg2"), cluster.replay_paused("pg3"):
        answer = Client().post("/v0/api/auth/register", PERSON, content_type="application/json")
        yield verify(answer.headers["Consistency-Token"])
    assert wait_until(lambda: len(health.topology().good_replicas) == 2, timeout_seconds=60)


@pytest.fixture
def spent(settings):
    """One read of the primary, and no more for a long time."""
    settings.ROUTERS = {**settings.ROUTERS, "PRIMARY_READS_PER_SECOND": 0.001}
    yield
    placement._budget.cache_clear()


FORK = """
import os, sys
from routers.placement import _turns
before = _turns()
pid = os.fork()
if pid == 0:
    os._exit(_turns() is before)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class TestTurns:
    def test_a_forked_process_takes_its_own(self):
        # In a new process: this one has threads.
        assert subprocess.run([sys.executable, "-c", FORK], cwd=PROJECT_DIR, check=False).returncode == 0


class TestBudget:
    def test_within_it_the_primary_answers(self, unmet):
        with scope(token=unmet) as opened:
            assert PrimaryReplicaRouter().db_for_read(User) == "default"
            assert opened.reason is Reason.BEHIND

    def test_beyond_it_the_read_is_refused_in_words(self, unmet, spent):
        router = PrimaryReplicaRouter()
        with scope(token=unmet):
            router.db_for_read(User)
        with scope(token=unmet), pytest.raises(PrimaryOverloaded, match="which is the limit"):
            router.db_for_read(User)

    def test_slightly_beyond_it_the_read_waits_its_turn(self, unmet, settings):
        settings.ROUTERS = {**settings.ROUTERS, "PRIMARY_READS_PER_SECOND": 20, "MAX_WAIT_SECONDS": 0.5}
        started_at = time.monotonic()
        for _ in range(25):
            with scope(token=Token(unmet.system_identifier, 0, unmet.lsn)):
                assert PrimaryReplicaRouter().db_for_read(User) == "default"
        assert time.monotonic() - started_at > 0.2

    def test_a_view_that_may_be_stale_is_answered_and_says_so(self, unmet, spent):
        router = PrimaryReplicaRouter()
        with scope(token=unmet):
            router.db_for_read(User)
        with scope(token=unmet) as opened:
            opened.may_be_stale = True
            assert router.db_for_read(User) in {"pg2", "pg3"}
            assert (opened.reason, opened.truth) == (Reason.OVER_BUDGET, Truth.STALE)


class TestMoving:
    def test_clients_move_to_every_replica_alike(self):
        """Those that left a replica while it was away must come back to it, and not all to the same one."""
        assert wait_until(all_have_replayed_the_same, timeout_seconds=60)
        topology = health.topology()
        token = Token(topology.system_identifier, topology.timeline, Lsn(1), "pg3")
        moved_to: Counter[str] = Counter()
        for _ in range(40 * placement._MOVE_ONE_IN):
            with scope(token=token) as opened:
                alias = PrimaryReplicaRouter().db_for_read(User)
                moved_to[alias] += opened.reason is Reason.CAUGHT_UP
        # 20 each, less those that WAL from elsewhere made wait.
        assert min(moved_to["pg2"], moved_to["pg3"]) >= 15, moved_to


def all_have_replayed_the_same() -> bool:
    health.monitor().refresh()
    nodes = health.topology().nodes.values()
    return len(health.topology().good_replicas) == 2 and len({node.status.lsn for node in nodes if node.status}) == 1


class TestObserve:
    def test_counts_and_routes_nothing(self, client, settings):
        settings.ROUTERS = {**settings.ROUTERS, "PROFILE": "observe", "SERVER_TIMING": True}
        answer = client.get("/v0/api/users/1")
        assert answer.headers["Server-Timing"].endswith('observed"')


class TestServerTiming:
    def test_names_node_and_reason_when_switched_on(self, client, settings):
        settings.ROUTERS = {**settings.ROUTERS, "SERVER_TIMING": True}
        assert client.get("/v0/api/users/1").headers["Server-Timing"].split('"')[1].split() in (
            ["pg2", "replica"],
            ["pg3", "replica"],
        )

    def test_is_silent_by_default(self, client):
        assert "Server-Timing" not in client.get("/v0/api/users/1").headers
