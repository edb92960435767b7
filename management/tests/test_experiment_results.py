"""What a load's result file says: JMeter's own lines, and what they amount to."""

import pytest

from management.errors import OperationError, Unknown
from management.experiments.chapter import Finding
from management.experiments.driver import read_properties
from management.experiments.failover import Failover
from management.experiments.lag import Seeding
from management.experiments.load import Load, Plan
from management.experiments.results import Sample, read_results, summarise
from management.experiments.sampling import NodeSample, Sampled, increase, lags, rates

HEADING = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,"
    "grpThreads,allThreads,URL,Latency,IdleTime,Connect,email"
)
REGISTERED = (
    "1769305000500,40,register,201,Created,writers 1-1,text,true,,345,512,4,8,"
    "http://127.0.0.1:8000/v0/api/auth/register,39,0,1,a@load.example.com"
)
WRONG_BODY = (
    '1769305000100,12,profile,200,OK,readers 1-1,text,false,"Test failed: userId, expected 7",300,200,4,8,'
    "http://127.0.0.1:8000/v0/api/users/7,12,0,1,null"
)


def sample(seconds: float, *, at: float = 0.0, is_success: bool = True) -> Sample:
    return Sample(at, seconds, "profile", is_success, "200", "", "")


class TestReadResults:
    def test_reads_what_jmeter_writes(self, tmp_path):
        file = tmp_path / "load.jtl"
        file.write_text("\n".join([HEADING, REGISTERED, WRONG_BODY]))
        first, second = read_results(file)
        assert first == Sample(
            1769305000.1, 0.012, "profile", False, "200", "Test failed: userId, expected 7", email=""
        )
        assert (second.email, second.is_success, second.completed_at) == ("a@load.example.com", True, 1769305000.54)

    @pytest.mark.parametrize("text", ["", HEADING, "no,such,columns\n1,2,3", HEADING + "\nx,y,z"])
    def test_says_when_there_is_nothing_to_read(self, tmp_path, text):
        file = tmp_path / "load.jtl"
        file.write_text(text)
        with pytest.raises(Unknown, match=str(file)):
            read_results(file)


class TestSummarise:
    def test_counts_failures_and_times_only_what_succeeded(self):
        summary = summarise([sample(0.010), sample(0.020, at=1.98), sample(9.0, is_success=False)])
        assert (summary.requests, summary.failed, summary.p50_seconds, summary.p95_seconds) == (3, 1, 0.010, 0.020)

    def test_throughput_is_of_what_succeeded(self):
        summary = summarise([sample(0.5, at=float(second)) for second in range(10)] + [sample(0.5, at=9.5)])
        assert summary.per_second == pytest.approx(1.1)

    def test_nothing_is_no_summary(self):
        with pytest.raises(Unknown, match="let the load run longer"):
            summarise([])


class TestFinding:
    @pytest.mark.parametrize(
        ("value", "limits", "is_met"),
        [
            (0.97, {"at_least": 0.97}, True),
            (0.969, {"at_least": 0.97}, False),
            (1.051, {"at_most": 1.05}, False),
            (0, {"at_least": 0, "at_most": 0}, True),
            (1, {"at_least": 0, "at_most": 0}, False),
            (float("nan"), {"at_most": 2.0}, False),
            (float("nan"), {}, True),
        ],
    )
    def test_is_met_within_its_limits(self, value, limits, is_met):
        assert Finding("x", value, "", **limits).is_met is is_met


def node(at: float, name: str, lsn: int | None, *, is_primary: bool | None = False) -> NodeSample:
    return NodeSample(at, name, is_primary, lsn, None, None, None, None, None)


class TestLags:
    def test_is_the_distance_to_the_primary_of_the_same_moment(self):
        sampled = Sampled(
            (
                *(node(1.0, "pg1", 1000, is_primary=True), node(1.0, "pg2", 900)),
                *(node(2.0, "pg1", 5000, is_primary=True), node(2.0, "pg2", 5000)),
            ),
            (),
        )
        assert lags(sampled) == {"pg2": [(1.0, 100), (2.0, 0)]}

    def test_is_unknown_without_a_primary_or_an_answer(self):
        sampled = Sampled(
            (
                *(node(1.0, "pg1", None, is_primary=None), node(1.0, "pg2", 900)),
                *(node(2.0, "pg1", 5000, is_primary=True), node(2.0, "pg2", None, is_primary=None)),
                *(node(3.0, "pg1", 5000, is_primary=True), node(3.0, "pg2", 4000)),
            ),
            (),
        )
        assert lags(sampled) == {"pg2": [(1.0, None), (2.0, None), (3.0, 1000)]}


class TestCounters:
    def test_grow_from_zero_again_after_a_restart(self):
        assert increase([100, 150, None, 20, 25]) == 75

    def test_have_no_rate_across_a_restart(self):
        assert rates([(0.0, 100), (1.0, 20), (2.0, 30)], over_seconds=1.0) == [(1.0, None), (2.0, 10.0)]


class TestSeeding:
    def seeding(self, *points: tuple[float, int | None]) -> Seeding:
        return Seeding("x", None, {}, {"pg2": points}, loaded_at=10.0)

    def test_has_caught_up_when_it_stays_close(self):
        seeding = self.seeding((9.0, 9_000_000), (10.1, 500_000), (10.2, 0), (10.3, 900_000), (10.5, 100), (10.6, 0))
        assert (seeding.highest("pg2"), seeding.seconds_to_catch_up("pg2")) == (9_000_000, 0.5)

    def test_has_not_if_it_was_not_seen(self):
        assert str(self.seeding((10.1, 500_000), (10.2, 400_000)).seconds_to_catch_up("pg2")) == "nan"


class TestFailover:
    def failover(self, *acknowledged_at: float) -> Failover:
        samples = tuple(Sample(at, 0.0, "register", True, "201", "", "") for at in acknowledged_at)
        return Failover("pg1", "pg2", 0.0, 10.0, 15.0, (), samples, Sampled((), ()), {}, (), 2, "rewind")

    def test_is_without_writes_from_the_last_before_to_the_first_after_the_promotion(self):
        # A longer pause elsewhere is another matter.
        assert self.failover(1.0, 9.5, 16.0, 60.0).without_writes == (9.5, 16.0)

    def test_writes_that_never_come_back_are_no_short_pause(self):
        _, again_at = self.failover(1.0, 5.0, 9.5).without_writes
        assert not Finding("x", again_at - 15.0, "s", at_most=2.0).is_met


class TestLoad:
    def test_one_that_ends_at_once_has_not_begun(self, tmp_path):
        class Broken:
            def command(self, plan: Plan, file, results):
                return ["false"]

        with pytest.raises(OperationError, match="ended before its time"):
            Load(Broken(), Plan.READ, {}, tmp_path / "load.jtl").await_begin()


class TestProperties:
    def test_both_load_tools_read_the_same_password(self, tmp_path):
        properties = {"password": "a\\b=c d:ж#!", "port": "1"}
        results = tmp_path / "load.jtl"

        class Reader:
            def command(self, plan: Plan, file, results):
                return ["cp", str(file), str(results)]

        load = Load(Reader(), Plan.READ, properties, results)
        load.wait(1)
        assert read_properties(results) == properties
        assert sorted(path.name for path in tmp_path.iterdir()) == ["load.jtl", "load.out"]
