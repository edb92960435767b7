from routers.node import Condition, Topology, Unreachable
from routers.observations import Observations
from routers.tests.factories import LIMITS, primary, replica

DOWN = Unreachable("connection refused")


def observed(**answers) -> Observations:
    """After a first round with these answers."""
    seen = Observations(answers, limits=LIMITS, known=Topology())
    for alias, answer in answers.items():
        seen.record(alias, answer, now=100.0)
    seen.end_first_round(now=100.0)
    return seen


def condition(seen: Observations, alias: str) -> Condition:
    return seen.topology.nodes[alias].condition


class TestFirstRound:
    def test_nothing_is_judged_before_every_node_was_asked(self):
        seen = Observations(["pg1", "pg2"], limits=LIMITS, known=Topology())
        seen.record("pg1", primary(timeline=1), now=100.0)
        assert seen.topology.primary is None

    def test_a_replica_must_once_have_what_the_others_showed(self):
        """A process that starts now does not know whether the replica has just crashed."""
        seen = observed(pg1=primary(lsn=5000), pg2=replica(lsn=4990))
        assert condition(seen, "pg2") is Condition.READMITTING
        seen.record("pg2", replica(lsn=5000), now=100.1)
        seen.record("pg1", primary(lsn=5500), now=100.2)
        assert condition(seen, "pg2") is Condition.GOOD


class TestReturn:
    def test_takes_answers_in_a_row_and_the_newest_position_of_that_moment(self):
        seen = observed(pg1=primary(lsn=5000), pg2=replica(lsn=5000))
        seen.record("pg2", DOWN, now=101.0)
        seen.record("pg1", primary(lsn=5400), now=101.1)
        conditions = []
        for lsn in (5000, 5300, 5400):
            seen.record("pg2", replica(lsn=lsn), now=102.0)
            conditions.append(condition(seen, "pg2"))
        assert conditions == [Condition.READMITTING, Condition.READMITTING, Condition.GOOD]


class TestTimeline:
    def test_a_cut_off_replica_keeps_the_one_it_has_streamed(self):
        seen = observed(pg1=primary(timeline=2), pg2=replica(timeline=2))
        seen.record("pg2", replica(timeline=1), now=101.0)
        assert seen.topology.nodes["pg2"].status.timeline == 2

    def test_cuts_the_writes_of_a_deposed_primary(self):
        seen = observed(pg1=primary(timeline=1), pg2=replica(timeline=1))
        assert seen.record("pg2", primary(timeline=2), now=101.0).writes == ("pg1",)
