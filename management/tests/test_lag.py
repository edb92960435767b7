from management.exit_codes import ExitCode
from management.lag import Health, Thresholds, judge_lag
from management.record import RecordedNode
from management.survey import Evidence, Sender, Survey, SurveyedNode
from routers.lsn import Lsn
from routers.node import NodeStatus, Role, Unreachable

THRESHOLDS = Thresholds(max_lag_bytes=1000, max_lag_seconds=5.0)


def survey(replica_answer=None, *, leader: bool = True, other_primary: bool = False) -> Survey:
    def found(name, answer):
        evidence = Evidence.ANSWERS if isinstance(answer, NodeStatus) else Evidence.STOPPED
        return SurveyedNode(RecordedNode(name, "127.0.0.1", 5501), answer, evidence)

    down = Unreachable("refused")
    role = Role.PRIMARY if other_primary else Role.REPLICA
    return Survey(
        {
            "pg1": found("pg1", NodeStatus(Role.PRIMARY, 7, 1, Lsn(5000)) if leader else down),
            "pg2": found("pg2", replica_answer or NodeStatus(role, 7, 1, Lsn(5000))),
        },
        primary="pg1" if leader else None,
        timeline=1,
    )


def sender(*, lag_bytes: int = 0, lag_seconds: float | None = None, state: str = "streaming") -> Sender:
    return Sender("pg2", state, "sync", 0, 0, lag_bytes, None, None, lag_seconds)


class TestJudgeLag:
    def judge(self, found: Survey, *senders: Sender, **options):
        return judge_lag(found, senders, THRESHOLDS, **options)

    def test_a_streaming_replica_within_the_limits_is_healthy(self):
        report = self.judge(survey(), sender(lag_bytes=1000, lag_seconds=5.0))
        assert (report.health, report.exit_code) == (Health.HEALTHY, ExitCode.DONE)

    def test_too_many_bytes(self):
        report = self.judge(survey(), sender(lag_bytes=1001))
        assert (report.exit_code, report.reason) == (ExitCode.REFUSED, "pg2: 1001 bytes behind, the limit is 1000")

    def test_too_long(self):
        report = self.judge(survey(), sender(lag_bytes=1, lag_seconds=5.1))
        assert report.reason == "pg2: 5.1 s behind, the limit is 5.0"

    def test_a_remembered_time_does_not_count_when_nothing_is_missing(self):
        assert self.judge(survey(), sender(lag_bytes=0, lag_seconds=60.0)).health is Health.HEALTHY

    def test_a_replica_that_is_not_connected(self):
        assert self.judge(survey()).reason == "pg2: not connected to pg1"

    def test_a_replica_that_is_catching_up(self):
        assert self.judge(survey(), sender(state="catchup")).reason == "pg2: state is catchup, not streaming"

    def test_a_replica_that_does_not_answer(self):
        assert self.judge(survey(Unreachable("refused")), sender()).reason == "pg2: does not answer (stopped)"

    def test_a_fenced_node_is_not_expected(self):
        assert self.judge(survey(Unreachable("refused")), fenced=["pg2"]).health is Health.HEALTHY

    def test_two_that_accept_writes(self):
        assert self.judge(survey(other_primary=True), sender()).reason == "split brain: pg1 and pg2 accept writes"

    def test_without_a_primary_nothing_is_known(self):
        assert self.judge(survey(leader=False)).exit_code is ExitCode.UNKNOWN
