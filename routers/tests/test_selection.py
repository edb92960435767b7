from routers.node import Condition
from routers.selection import Reason, choose_read_node, may_keep
from routers.tests.factories import topology

GOOD, LAGGING, DOWN = Condition.GOOD, Condition.LAGGING, Condition.UNREACHABLE


class TestChooseReadNode:
    def test_good_replicas_take_turns(self):
        seen = topology({"pg1": GOOD, "pg2": GOOD, "pg3": GOOD})
        assert [choose_read_node(seen, turn=turn).alias for turn in range(4)] == ["pg2", "pg3", "pg2", "pg3"]

    def test_without_a_good_replica_the_primary_reads(self):
        seen = topology({"pg1": GOOD, "pg2": LAGGING, "pg3": DOWN})
        assert choose_read_node(seen, turn=0) == (None, Reason.NO_GOOD_REPLICA)

    def test_without_a_primary_the_freshest_lagging_replica_reads(self):
        seen = topology({"pg1": DOWN, "pg2": LAGGING, "pg3": LAGGING}, primary=None, lsns={"pg2": 5, "pg3": 9})
        assert choose_read_node(seen, turn=0) == ("pg3", Reason.FRESHEST_WITHOUT_PRIMARY)

    def test_a_node_of_an_old_timeline_never_reads(self):
        seen = topology({"pg1": DOWN, "pg2": Condition.OLD_TIMELINE, "pg3": Condition.FENCED}, primary=None)
        assert choose_read_node(seen, turn=0) == (None, Reason.NO_NODE)


class TestMayKeep:
    def test_a_good_replica(self):
        assert may_keep(topology({"pg1": GOOD, "pg2": GOOD}), "pg2")

    def test_not_one_that_was_ejected(self):
        assert not may_keep(topology({"pg1": GOOD, "pg2": DOWN}), "pg2")

    def test_not_one_that_was_promoted(self):
        assert not may_keep(topology({"pg2": GOOD, "pg3": GOOD}, primary="pg2"), "pg2")
