from dataclasses import replace

from routers.lag import PrimaryHistory
from routers.lsn import Lsn
from routers.node import Condition, Topology, Unreachable
from routers.tests.factories import observe, primary, replica

DOWN = Unreachable("connection refused")


class TestFindPrimary:
    def test_is_the_one_that_accepts_writes(self):
        assert observe({"pg1": replica(), "pg2": primary()}).primary == "pg2"

    def test_a_returned_old_primary_is_not_believed(self):
        seen = observe({"pg1": primary(timeline=1), "pg2": primary(timeline=2)})
        assert (seen.primary, seen.nodes["pg1"].condition) == ("pg2", Condition.FENCED)

    def test_an_old_primary_alone_is_not_believed_after_a_newer_timeline_was_shown(self):
        before = observe({"pg1": DOWN, "pg2": primary(timeline=2)})
        assert observe({"pg1": primary(timeline=1), "pg2": DOWN}, previous=before).primary is None

    def test_a_replica_of_the_newer_timeline_is_enough_to_unmask_an_old_primary(self):
        assert observe({"pg1": primary(timeline=1), "pg2": DOWN, "pg3": replica(timeline=2)}).primary is None

    def test_of_two_on_one_timeline_the_known_one_stays(self):
        before = observe({"pg1": primary(), "pg2": replica()})
        assert observe({"pg1": primary(), "pg2": primary()}, previous=before).primary == "pg1"

    def test_of_two_on_one_timeline_neither_is_believed_without_history(self):
        assert observe({"pg1": primary(), "pg2": primary()}).primary is None

    def test_a_node_of_another_cluster_is_foreign(self):
        before = observe({"pg1": primary(), "pg2": replica()})
        seen = observe({"pg1": DOWN, "pg2": primary(system=8, timeline=9)}, previous=before)
        assert (seen.primary, seen.nodes["pg2"].condition, seen.timeline) == (None, Condition.FOREIGN, 1)

    def test_there_is_none_while_all_are_silent(self):
        assert observe({"pg1": DOWN, "pg2": DOWN}).primary is None


class TestGoodReplicas:
    def test_are_those_that_answer_and_keep_up(self):
        assert observe({"pg1": primary(), "pg2": replica(), "pg3": DOWN}).good_replicas == ("pg2",)

    def test_exclude_one_beyond_the_limit_in_bytes(self):
        seen = observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=3999)})
        assert (seen.good_replicas, seen.nodes["pg2"].condition) == ((), Condition.LAGGING)

    def test_include_one_at_the_limit_in_bytes(self):
        assert observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=4000)}).good_replicas == ("pg2",)

    def test_exclude_one_beyond_the_limit_in_seconds(self):
        history = PrimaryHistory()
        history.record(Lsn(4990), 90.0)
        history.record(Lsn(5000), 94.0)
        seen = observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=4995)}, history=history, now=100.0)
        assert seen.nodes["pg2"].reason == "6.0 s behind, the limit is 5.0"

    def test_take_one_that_lagged_back_at_half_the_limit(self):
        lagging = observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=3999)})
        nearly = observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=4499)}, previous=lagging)
        assert (nearly.good_replicas, nearly.nodes["pg2"].reason) == ((), "501 bytes behind, the limit is 500")
        assert observe({"pg1": primary(lsn=5000), "pg2": replica(lsn=4500)}, previous=nearly).good_replicas == ("pg2",)

    def test_exclude_one_of_an_older_timeline(self):
        seen = observe({"pg1": primary(timeline=2), "pg2": replica(timeline=1)})
        assert seen.nodes["pg2"].condition is Condition.OLD_TIMELINE

    def test_include_one_again_only_after_enough_answers(self):
        answers = {"pg1": primary(), "pg2": replica()}
        once = observe(answers, in_a_row={"pg1": 1, "pg2": 1})
        assert (once.good_replicas, observe(answers, in_a_row={"pg1": 1, "pg2": 2}).good_replicas) == ((), ("pg2",))


class TestIncarnation:
    def incarnations(self, *answers):
        seen = Topology()
        result = []
        for answer in answers:
            seen = observe({"pg2": answer}, previous=seen)
            result.append(seen.nodes["pg2"].incarnation)
        return result

    def test_stays_while_nothing_but_the_position_changes(self):
        assert self.incarnations(replica(lsn=1), replica(lsn=2)) == [1, 1]

    def test_changes_with_a_promotion(self):
        assert self.incarnations(replica(), primary(timeline=2)) == [1, 2]

    def test_changes_when_a_node_comes_back(self):
        assert self.incarnations(replica(), DOWN, replica()) == [1, 1, 2]


class TestStuckCommits:
    def test_one_answer_is_a_hiccup_however_often_others_answer(self):
        stuck = replace(primary(), synchronous_replicas=0)
        first = observe({"pg1": stuck, "pg2": replica()}, previous=observe({"pg1": primary(), "pg2": replica()}))
        assert not first.is_stuck
        assert not observe({"pg1": stuck, "pg2": replica()}, previous=first).is_stuck

    def test_two_answers_are_not(self):
        first = observe({"pg1": replace(primary(), synchronous_replicas=0)})
        again = observe({"pg1": replace(primary(), synchronous_replicas=0)}, previous=first)
        assert again.is_stuck

    def test_is_over_when_a_replica_is_back(self):
        first = observe({"pg1": replace(primary(), synchronous_replicas=0)})
        again = observe({"pg1": replace(primary(), synchronous_replicas=0)}, previous=first)
        assert not observe({"pg1": replace(primary(), synchronous_replicas=1)}, previous=again).is_stuck
