"""The entry point of Compose's nodes: grows a cluster from nothing, and makes no second primary."""

from __future__ import annotations

import shutil
import signal

import pytest

from management.processes import wait_until
from routers.node import Role
from tests.compose.nodes import contained_nodes

pytestmark = [pytest.mark.replication, pytest.mark.timeout(180)]
RUNNING = {"pg1": Role.PRIMARY, "pg2": Role.REPLICA, "pg3": Role.REPLICA}


@pytest.fixture
def nodes():
    """pg1 with its two replicas, set up."""
    with contained_nodes() as contained:
        contained.begin("pg1", "pg2", "pg3")
        assert contained.set_up(), contained.log("pg1") + contained.log("pg2")
        yield contained


def says(nodes, name, words):
    return wait_until(lambda: words in nodes.log(name), timeout_seconds=60)


class TestStart:
    def test_grows_a_cluster_from_nothing_and_goes_on_with_it(self, nodes):
        assert nodes.become(**RUNNING)
        assert nodes.record.synchronous.names == ("pg2", "pg3")
        self.take_a_volume_twice(nodes)
        self.crash(nodes)
        nodes.end("pg1", "pg2", "pg3")
        nodes.begin("pg1", "pg2", "pg3")
        assert nodes.become(**RUNNING)
        assert nodes.log("pg1").count("initialised") == 1

    def take_a_volume_twice(self, nodes):
        assert "another container uses its data" in nodes.run("pg1").stderr
        outcome = nodes.run("pg2", "rejoin")
        assert (outcome.code, "it runs" in outcome.stderr) == (1, True)
        assert nodes.become(**RUNNING)

    def crash(self, nodes):
        """Nobody has replaced it."""
        nodes.end("pg1", how=signal.SIGKILL)
        nodes.begin("pg1")
        assert nodes.become(**RUNNING)

    def test_an_empty_volume_is_no_reason_for_a_second_cluster(self, nodes):
        nodes.end("pg1")
        shutil.rmtree(nodes.home("pg1") / "node")
        nodes.begin("pg1")
        assert says(nodes, "pg1", "waits for exactly one primary to clone from; 0 answer")
        nodes.promote_by_hand("pg2")
        assert nodes.become(pg1=Role.REPLICA, pg2=Role.PRIMARY, pg3=Role.REPLICA)


class TestAfterAPromotion:
    @pytest.fixture
    def promoted(self, nodes):
        nodes.end("pg1", how=signal.SIGKILL)
        outcome = nodes.command("promote_replica", "--no-input", "--node=pg2")
        assert outcome.code == 0, outcome.stderr
        return nodes

    def test_the_old_primary_waits_and_returns_as_a_replica(self, promoted):
        promoted.begin("pg1")
        assert says(promoted, "pg1", "is not started, because a promotion has fenced it")
        assert promoted.roles()["pg1"] is None
        outcome = promoted.run("pg1", "rejoin")
        assert outcome.code == 0, outcome.stderr
        assert promoted.become(pg1=Role.REPLICA, pg2=Role.PRIMARY, pg3=Role.REPLICA)
        assert len(list(promoted.home("pg1").glob("node.before-*"))) == 1
        assert promoted.set_up()
        assert promoted.record.synchronous.names == ("pg1", "pg3")
        assert not promoted.record.node("pg1").fenced

    def test_the_old_primary_waits_although_no_other_node_runs(self, promoted):
        promoted.end("pg2", "pg3")
        promoted.begin("pg1")
        assert says(promoted, "pg1", "is not started, because a promotion has fenced it")
        promoted.begin("pg2", "pg3")
        assert promoted.become(pg1=None, pg2=Role.PRIMARY, pg3=Role.REPLICA)


class TestAfterAPromotionByHand:
    """The record knows nothing of it."""

    def test_the_old_primary_waits_while_the_new_one_runs(self, nodes):
        nodes.end("pg1", how=signal.SIGKILL)
        nodes.promote_by_hand("pg2")
        nodes.begin("pg1")
        assert says(nodes, "pg1", "accepts writes")
        assert nodes.roles()["pg1"] is None

    def test_the_new_one_starts_again_when_the_record_is_gone(self, nodes):
        nodes.end("pg1", how=signal.SIGKILL)
        nodes.promote_by_hand("pg2")
        nodes.end("pg2")
        nodes.begin("pg2")
        assert says(nodes, "pg2", "the record of the cluster names pg1 as the primary")
        nodes.state.record.write_text("{}")
        assert says(nodes, "pg2", "the record of the cluster cannot be read")
        nodes.state.record.unlink()
        assert nodes.become(pg1=None, pg2=Role.PRIMARY, pg3=Role.REPLICA)

    def test_nobody_throws_away_the_newer_data(self, nodes):
        nodes.end("pg1", how=signal.SIGKILL)
        nodes.promote_by_hand("pg2")
        nodes.end("pg2")
        nodes.state.record.unlink()
        nodes.begin("pg1")
        assert nodes.become(pg1=Role.PRIMARY, pg2=None, pg3=Role.REPLICA)
        outcome = nodes.run("pg2", "rejoin")
        assert (outcome.code, "newer timeline" in outcome.stderr) == (1, True)
        assert not list(nodes.home("pg2").glob("node.before-*"))
