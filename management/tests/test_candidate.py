import pytest

from management.candidate import Risks, plan_promotion
from management.errors import Refused, Unknown
from management.record import ClusterRecord, RecordedNode
from management.survey import Evidence, Survey, SurveyedNode
from management.synchronous import SynchronousReplication, SyncMode
from routers.lsn import Lsn
from routers.node import NodeStatus, Role, Unreachable

NAMES = ("pg1", "pg2", "pg3")
DEAD = (Unreachable("refused"), Evidence.STOPPED)


def replica(lsn: int, *, received: int | None = None, timeline: int = 1, source: str | None = None):
    receive_lsn = Lsn(lsn if received is None else received)
    return NodeStatus(Role.REPLICA, 7, timeline, Lsn(lsn), receive_lsn, source is not None), Evidence.ANSWERS, source


def primary():
    return NodeStatus(Role.PRIMARY, 7, 1, Lsn(100)), Evidence.ANSWERS


def plan(*found, mode=SyncMode.FIRST, names=None, wanted=None, fenced=(), **risks):
    nodes = tuple(RecordedNode(name, "127.0.0.1", 5501, fenced=name in fenced) for name in NAMES)
    synchronous = (
        SynchronousReplication(mode, tuple(names))
        if names is not None
        else SynchronousReplication.choose(mode, ["pg2", "pg3"])
    )
    survey = Survey(
        {node.name: SurveyedNode(node, *each) for node, each in zip(nodes, found, strict=True)},
        primary=None,
        timeline=1,
        system_identifier=7,
    )
    return plan_promotion(survey, ClusterRecord(nodes, synchronous), Risks(**risks), wanted=wanted)


class TestRefuses:
    def test_while_a_primary_accepts_writes(self):
        with pytest.raises(Refused, match="pg1 accepts writes"):
            plan(primary(), replica(100), replica(100), accept_data_loss=True)

    def test_while_a_node_is_silent(self):
        with pytest.raises(Unknown, match="--assume-fenced pg1"):
            plan((Unreachable("no answer"), Evidence.SILENT), replica(100), replica(100))

    def test_while_a_replica_still_receives(self):
        with pytest.raises(Refused, match="pg3 still receives WAL from pg1"):
            plan((Unreachable("refused"), Evidence.REFUSED), replica(100), replica(100, source="pg1"))

    def test_while_a_replica_receives_from_a_stranger(self):
        with pytest.raises(Refused, match=r"pg2 still receives WAL from 10\.0\.0\.9:5432"):
            plan(DEAD, replica(100, source="10.0.0.9:5432"), replica(100))

    def test_without_a_replica_that_answers(self):
        with pytest.raises(Refused, match="nothing to promote"):
            plan(DEAD, DEAD, DEAD)

    def test_a_candidate_that_does_not_answer(self):
        with pytest.raises(Refused, match="pg3 is not a replica that answers; these are: pg2"):
            plan(DEAD, replica(100), DEAD, wanted="pg3")

    def test_to_lose_bytes_that_another_replica_has(self):
        with pytest.raises(Refused, match="pg3 lacks 40 bytes"):
            plan(DEAD, replica(100), replica(60), wanted="pg3")

    def test_when_the_synchronous_replica_is_away(self):
        with pytest.raises(Refused, match="pg2, which confirmed commits, does not answer"):
            plan(DEAD, DEAD, replica(100))

    def test_when_one_of_a_quorum_is_away(self):
        with pytest.raises(Refused, match="pg3, which confirmed commits"):
            plan(DEAD, replica(100), DEAD, mode=SyncMode.QUORUM)

    def test_when_replication_was_asynchronous(self):
        with pytest.raises(Refused, match="asynchronous"):
            plan(DEAD, replica(100), replica(100), mode=SyncMode.OFF)

    def test_a_candidate_of_an_older_timeline(self):
        with pytest.raises(Refused, match="may be lost"):
            plan(DEAD, replica(500, timeline=1), replica(100, timeline=2), names=["pg3"], wanted="pg2")


class TestChooses:
    def test_the_replica_with_the_newest_data(self):
        assert plan(DEAD, replica(100), replica(120), mode=SyncMode.QUORUM).candidate == "pg3"

    def test_the_synchronous_one_of_equals(self):
        assert plan(DEAD, replica(100), replica(100), names=["pg3"]).candidate == "pg3"

    def test_by_what_was_replayed_when_the_received_position_fell_back(self):
        chosen = plan(DEAD, replica(100, received=64), replica(90), mode=SyncMode.QUORUM)
        assert (chosen.candidate, chosen.candidate_lsn) == ("pg2", "0/64")

    def test_by_what_was_received_when_replay_is_behind(self):
        assert plan(DEAD, replica(50, received=110), replica(100), mode=SyncMode.QUORUM).candidate == "pg2"

    def test_the_newer_timeline_before_the_greater_position(self):
        assert plan(DEAD, replica(500, timeline=1), replica(100, timeline=2), names=["pg3"]).candidate == "pg3"

    def test_never_a_fenced_node(self):
        assert plan(replica(900), replica(100), DEAD, fenced=["pg1"], names=["pg2"]).candidate == "pg2"


class TestStrangers:
    def test_a_replica_of_another_cluster_is_never_promoted(self):
        stranger = (NodeStatus(Role.REPLICA, 8, 1, Lsn(900), Lsn(900), False), Evidence.ANSWERS)
        with pytest.raises(Refused, match="pg3 belongs to another cluster"):
            plan(DEAD, replica(100), stranger, names=["pg2"])


class TestGoesOn:
    def test_after_an_interruption_that_left_a_replica_following_the_candidate(self):
        assert plan(DEAD, replica(100), replica(100, source="pg2")).candidate == "pg2"


class TestPlan:
    def test_points_the_others_at_the_candidate_and_lets_them_confirm(self):
        made = plan(DEAD, replica(100), replica(90))
        assert (made.followers, made.synchronous.setting(), made.fence) == (("pg3",), 'FIRST 1 ("pg3")', ("pg1",))

    def test_a_candidate_alone_confirms_for_itself(self):
        made = plan(DEAD, replica(100), DEAD, names=["pg2"])
        assert (made.followers, made.synchronous.setting()) == ((), "")

    def test_is_lossless_when_the_synchronous_replica_is_chosen(self):
        assert plan(DEAD, replica(100), replica(90)).is_lossless

    def test_shows_the_loss_that_was_accepted(self):
        made = plan(DEAD, replica(100), replica(60), wanted="pg3", accept_data_loss=True)
        assert (made.is_lossless, made.lost_bytes) == (False, 40)

    def test_a_silent_node_may_be_taken_for_fenced(self):
        silent = (Unreachable("no answer"), Evidence.SILENT)
        assert plan(silent, replica(100), replica(90), assume_fenced=frozenset({"pg1"})).candidate == "pg2"
