from dataclasses import replace

from routers.lsn import Lsn
from routers.node import Condition, Topology
from routers.requirement import NOTHING, Requirement, require
from routers.tests.factories import SYSTEM, topology
from routers.token import Token

GOOD, DOWN = Condition.GOOD, Condition.UNREACHABLE


def judge(token: Token | None, seen: Topology) -> Requirement:
    return require(token, seen, primary_alias="default")


def token(lsn: int, *, node: str = "", timeline: int = 1, system: int = SYSTEM) -> Token:
    return Token(system, timeline, Lsn(lsn), node)


def promoted(**conditions: Condition) -> Topology:
    """pg2 was promoted at position 100."""
    seen = topology({"pg2": GOOD, "pg3": GOOD, **conditions}, primary="pg2")
    return replace(seen, timeline=2, switches={1: Lsn(100)})


class TestOnOneTimeline:
    def test_no_token_demands_nothing(self):
        assert judge(None, topology({"pg1": GOOD})) == NOTHING

    def test_a_token_demands_its_position_and_its_node(self):
        seen = replace(topology({"pg1": GOOD}), timeline=1)
        assert judge(token(5, node="pg2"), seen) == Requirement(Lsn(5), "pg2")

    def test_one_of_another_cluster_demands_nothing(self):
        assert judge(token(5, system=8), topology({"pg1": GOOD})) == NOTHING


class TestOverAPromotion:
    def test_below_the_switch_it_is_an_ordinary_position(self):
        assert judge(token(100), promoted()) == Requirement(Lsn(100))

    def test_above_the_switch_it_may_be_lost(self):
        assert judge(token(101), promoted()).is_possibly_lost

    def test_of_a_timeline_that_is_not_in_the_history_it_may_be_lost(self):
        assert judge(token(5), replace(promoted(), switches={})).is_possibly_lost

    def test_seen_on_a_replica_that_follows(self):
        assert judge(token(5, node="pg3"), promoted()) == Requirement(Lsn(5), "pg3")

    def test_seen_on_the_replica_that_was_promoted(self):
        assert judge(token(5, node="pg2"), promoted()) == Requirement(Lsn(5), "default")

    def test_seen_on_the_old_primary_it_may_be_lost(self):
        assert judge(token(5, node="default"), promoted()).is_possibly_lost

    def test_seen_on_a_replica_that_is_gone_it_may_be_lost(self):
        assert judge(token(5, node="pg3"), promoted(pg3=DOWN)).is_possibly_lost
