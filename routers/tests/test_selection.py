from routers.lsn import Lsn
from routers.node import Condition
from routers.selection import Reason, choose_replica, freshest, may_keep
from routers.tests.factories import topology

GOOD, LAGGING, DOWN = Condition.GOOD, Condition.LAGGING, Condition.UNREACHABLE


class TestChooseReplica:
    def test_good_replicas_take_turns(self):
        seen = topology({"pg1": GOOD, "pg2": GOOD, "pg3": GOOD})
        chosen = [choose_replica(seen, seen.good_replicas, lsn=Lsn(0), turn=turn).alias for turn in range(4)]
        assert chosen == ["pg2", "pg3", "pg2", "pg3"]

    def test_only_those_that_have_what_the_client_has_seen(self):
        seen = topology({"pg1": GOOD, "pg2": GOOD, "pg3": GOOD}, lsns={"pg2": 5, "pg3": 9})
        chosen = [choose_replica(seen, seen.good_replicas, lsn=Lsn(9), turn=turn) for turn in range(2)]
        assert chosen == [("pg3", Reason.CAUGHT_UP)] * 2

    def test_none_if_none_is_known_to_have_it(self):
        seen = topology({"pg1": GOOD, "pg2": GOOD}, lsns={"pg2": 5})
        assert choose_replica(seen, seen.good_replicas, lsn=Lsn(9), turn=0) is None


class TestFreshest:
    def test_is_the_most_advanced_that_answers(self):
        seen = topology({"pg1": DOWN, "pg2": LAGGING, "pg3": LAGGING}, primary=None, lsns={"pg2": 5, "pg3": 9})
        assert freshest(seen) == ("pg3", Reason.FRESHEST_WITHOUT_PRIMARY)

    def test_prefers_a_good_one(self):
        seen = topology({"pg1": DOWN, "pg2": GOOD, "pg3": LAGGING}, primary=None, lsns={"pg2": 5, "pg3": 9})
        assert freshest(seen).alias == "pg2"

    def test_is_never_one_that_has_failed(self):
        seen = topology({"pg1": DOWN, "pg2": GOOD}, primary=None)
        assert freshest(seen, without={"pg2"}) == (None, Reason.NO_NODE)

    def test_is_never_a_node_of_an_old_timeline(self):
        seen = topology({"pg1": DOWN, "pg2": Condition.OLD_TIMELINE, "pg3": Condition.FENCED}, primary=None)
        assert freshest(seen) == (None, Reason.NO_NODE)


class TestMayKeep:
    def test_a_good_replica(self):
        assert may_keep(topology({"pg1": GOOD, "pg2": GOOD}), "pg2")

    def test_one_that_begins_to_lag(self):
        assert may_keep(topology({"pg1": GOOD, "pg2": LAGGING}), "pg2")

    def test_not_one_that_was_ejected(self):
        assert not may_keep(topology({"pg1": GOOD, "pg2": DOWN}), "pg2")

    def test_not_one_that_was_promoted(self):
        assert not may_keep(topology({"pg2": GOOD, "pg3": GOOD}, primary="pg2"), "pg2")
