from dataclasses import replace

import pytest

from management.exit_codes import ExitCode
from management.history import controls
from management.history.client import Answer
from management.history.controls import Control, run_controls
from management.history.final import newest_known
from management.history.judge import judge
from management.history.operations import ABSENT, Kind, Operation, Outcome
from management.history.outcomes import read_login, read_own_profile, read_profile, read_search, write_outcome
from management.history.report import conclude
from management.history.verdict import EXAMPLES_MAX, Bounds, FinalState, Invariant

FINAL = FinalState({"1": 9, "2": 9})


def op(kind: Kind, at: float, version: int | None = 0, *, session: int = 0, key: str = "1", **fields) -> Operation:
    """An operation that begins at `at` and lasts 0.1 s."""
    status = {"outcome": Outcome.OK, "status": 200, **fields}
    return Operation(session, kind, key, version, at, at + 0.1, **status)


def wrote(at: float, version: int, **fields) -> Operation:
    return op(Kind.PATCH, at, version, **fields)


def read(at: float, version: int | None, kind: Kind = Kind.GET_OWN, **fields) -> Operation:
    return op(kind, at, version, **fields)


def count(invariant: Invariant, *history: Operation, final: FinalState = FINAL, bounds: Bounds | None = None) -> int:
    return judge(history, final, bounds or Bounds()).count(invariant)


def session_history(session: int, length: int = 100) -> list[Operation]:
    """What a faultless system answers: each version is written once, and read by its writer and the next session."""
    key, other = str(session), str((session + 1) % 3)
    return [
        op(Kind.REGISTER, session / 10, 0, session=session, key=key, timeline=1),
        *(
            operation
            for version in range(1, length)
            for operation in (
                wrote(version + session / 10, version, session=session, key=key, timeline=1),
                read(version + 0.4 + session / 10, version, session=session, key=key),
                read(version + 0.7 + session / 10, version, Kind.GET_OTHER, session=session, key=other),
            )
        ),
    ]


def clean_run(length: int = 100) -> tuple[list[Operation], FinalState]:
    history = [operation for session in range(3) for operation in session_history(session, length)]
    return history, FinalState({str(session): length - 1 for session in range(3)})


class TestAcknowledgedWritesLost:
    def lost(self, *history: Operation, **final) -> int:
        return count(Invariant.ACKNOWLEDGED_WRITES_LOST, *history, final=FinalState(**final))

    def test_a_kept_write(self):
        assert self.lost(wrote(1, 1), wrote(2, 2), versions={"1": 2}) == 0

    def test_a_lost_one(self):
        assert self.lost(wrote(1, 1), wrote(2, 2), versions={"1": 1}) == 1

    def test_a_lost_registration(self):
        assert self.lost(op(Kind.REGISTER, 1), versions={"1": ABSENT}) == 1

    @pytest.mark.parametrize("version", [1, 2])
    def test_an_unknown_write_may_be_there_or_not(self, version):
        assert self.lost(wrote(1, 1), wrote(2, 2, outcome=Outcome.UNKNOWN), versions={"1": version}) == 0

    def test_a_refused_write_is_not_missed(self):
        assert self.lost(wrote(1, 1), wrote(2, 2, outcome=Outcome.FAIL), versions={"1": 1}) == 0

    def test_a_registered_user_who_cannot_log_in(self):
        assert self.lost(op(Kind.REGISTER, 1), versions={"1": 0}, refused_logins=("1",)) == 1

    def test_says_nothing_of_a_user_who_could_not_be_read(self):
        assert self.lost(wrote(1, 1), versions={}, unread=("1",)) == 0


class TestStaleReads:
    def stale(self, *history: Operation) -> int:
        return count(Invariant.STALE_READS, *history)

    @pytest.mark.parametrize("kind", [Kind.GET_OWN, Kind.SEARCH])
    def test_a_read_of_the_own_write(self, kind):
        assert self.stale(wrote(1, 1), read(2, 1, kind)) == 0

    @pytest.mark.parametrize("kind", [Kind.GET_OWN, Kind.SEARCH])
    def test_a_read_of_less(self, kind):
        assert self.stale(wrote(1, 1), wrote(2, 2), read(3, 1, kind)) == 1

    @pytest.mark.parametrize("kind", [Kind.GET_OWN, Kind.SEARCH, Kind.LOGIN])
    def test_the_own_person_is_not_found(self, kind):
        assert self.stale(op(Kind.REGISTER, 1), read(2, ABSENT, kind)) == 1

    def test_a_login_that_succeeds_shows_enough(self):
        assert self.stale(op(Kind.REGISTER, 1), wrote(2, 1), read(3, None, Kind.LOGIN)) == 0

    def test_the_write_of_another_session_is_not_promised(self):
        assert self.stale(wrote(1, 1, session=1), read(2, 0, session=0)) == 0

    def test_a_write_under_way_is_not_promised(self):
        assert self.stale(replace(wrote(1, 1), completed_at=3), read(2, 0)) == 0

    @pytest.mark.parametrize("version", [1, 2])
    def test_an_unknown_write_may_be_seen_or_not(self, version):
        assert self.stale(wrote(1, 1), wrote(2, 2, outcome=Outcome.UNKNOWN), read(3, version)) == 0

    def test_a_read_that_says_so_itself(self):
        verdict = judge([wrote(1, 1), read(2, 0, is_flagged=True)], FINAL)
        assert (verdict.count(Invariant.STALE_READS), verdict.flagged_reads) == (0, 1)


class TestBackwardsReads:
    def backwards(self, *history: Operation) -> int:
        return count(Invariant.BACKWARDS_READS, *history)

    def test_forwards(self):
        assert self.backwards(read(1, 1), read(2, 1), read(3, 4)) == 0

    def test_backwards(self):
        assert self.backwards(read(1, 3), read(2, 1), read(3, 2)) == 2

    def test_somebody_who_was_there_is_gone(self):
        assert self.backwards(read(1, 0), read(2, ABSENT)) == 1

    def test_a_search_after_a_look(self):
        assert self.backwards(read(1, 3, Kind.GET_OTHER), read(2, 2, Kind.SEARCH)) == 1

    def test_somebody_who_could_log_in_is_gone(self):
        assert self.backwards(read(1, None, Kind.LOGIN), read(2, ABSENT)) == 1

    def test_each_session_for_itself(self):
        assert self.backwards(read(1, 3, session=0), read(2, 1, session=1)) == 0

    def test_each_user_for_themselves(self):
        assert self.backwards(read(1, 3, key="1"), read(2, 1, key="2")) == 0

    def test_a_failed_read_shows_nothing(self):
        assert self.backwards(read(1, 3), read(2, None, outcome=Outcome.FAIL, status=503)) == 0

    def test_a_read_that_says_so_itself(self):
        assert self.backwards(read(1, 3), read(2, 1, is_flagged=True)) == 0

    def test_a_flagged_read_is_remembered(self):
        assert self.backwards(read(1, 3, is_flagged=True), read(2, 1)) == 1


class TestVanishedValues:
    def vanished(self, *history: Operation, version: int = 9) -> int:
        return count(Invariant.VANISHED_VALUES, *history, final=FinalState({"1": version}))

    def test_a_version_that_stays(self):
        assert self.vanished(wrote(1, 1), read(2, 1)) == 0

    def test_a_version_that_vanished(self):
        assert self.vanished(wrote(1, 1, outcome=Outcome.UNKNOWN), read(2, 1), version=0) == 1

    def test_an_unknown_write_that_was_made(self):
        assert self.vanished(wrote(1, 1, outcome=Outcome.UNKNOWN), read(2, 1), version=1) == 0

    def test_a_version_that_nobody_wrote(self):
        assert self.vanished(wrote(1, 1), read(2, 2)) == 1

    def test_a_version_that_was_refused(self):
        assert self.vanished(wrote(1, 1, outcome=Outcome.FAIL), read(2, 1)) == 1


class TestSplitBrainWrites:
    def interleaved(self, *history: Operation) -> int:
        return count(Invariant.SPLIT_BRAIN_WRITES, *history)

    def test_one_timeline_after_the_other(self):
        assert self.interleaved(wrote(1, 1, timeline=1), wrote(2, 2, timeline=2), wrote(3, 3, timeline=2)) == 0

    def test_the_old_one_goes_on(self):
        newer = wrote(1, 1, timeline=2)
        assert self.interleaved(newer, wrote(2, 1, key="2", session=1, timeline=1)) == 1

    def test_at_the_same_time(self):
        overlapping = (wrote(1, 1, timeline=2), wrote(1.05, 1, key="2", session=1, timeline=1))
        assert self.interleaved(*overlapping) == 0

    def test_an_answer_without_a_timeline(self):
        assert self.interleaved(wrote(1, 1, timeline=2), wrote(2, 2)) == 0

    def test_a_write_that_was_not_acknowledged(self):
        assert self.interleaved(wrote(1, 1, timeline=2), wrote(2, 2, timeline=1, outcome=Outcome.UNKNOWN)) == 0


class TestFailedReads:
    def test_a_read_without_an_answer(self):
        failed = read(1, None, outcome=Outcome.FAIL, status=None, detail="TimeoutError: timed out")
        found = judge([failed], FINAL).findings[Invariant.FAILED_READS]
        assert found.examples == (
            "session 0 read user 1 at 0.000–0.100 s: no answer after 0.100 s, TimeoutError: timed out",
        )

    def test_a_refused_write_is_none(self):
        assert count(Invariant.FAILED_READS, wrote(1, 1, outcome=Outcome.FAIL), read(2, 0)) == 0


class TestSecondsWithoutWrites:
    def gaps(self, limit: float, *history: Operation) -> int:
        return count(Invariant.LONG_GAPS_WITHOUT_WRITES, *history, bounds=Bounds(limit))

    def test_within_the_bound(self):
        assert self.gaps(2.0, wrote(0, 1), wrote(1, 2), wrote(2, 3)) == 0

    def test_beyond_the_bound(self):
        assert self.gaps(2.0, wrote(0, 1), wrote(3, 2)) == 1

    def test_refusals_until_the_end_are_a_gap(self):
        assert self.gaps(2.0, wrote(0, 1), wrote(5, 2, outcome=Outcome.FAIL)) == 1

    def test_is_measured_without_a_bound(self):
        history = [wrote(0, 1), wrote(1, 2, outcome=Outcome.FAIL), wrote(2, 3, outcome=Outcome.UNKNOWN), wrote(3, 4)]
        verdict = judge(history, FINAL)
        assert verdict.seconds_without_writes == pytest.approx(3.0)
        assert (verdict.is_clean, verdict.refused_writes, verdict.unknown_writes) == (True, 1, 1)

    def test_without_any_write_there_is_none(self):
        assert judge([read(1, None, Kind.LOGIN)], FINAL).seconds_without_writes is None


class TestVerdict:
    def test_a_faultless_history_is_clean(self):
        verdict = judge(*clean_run())
        assert (verdict.is_clean, verdict.operations) == (True, 894)

    def test_the_order_of_the_record_does_not_matter(self):
        history, final = clean_run()
        assert judge(history[::-1], final) == judge(history, final)

    def test_counts_all_and_shows_a_few(self):
        found = judge([read(0, 9), *(read(at, 0) for at in range(1, 21))], FINAL).findings[Invariant.BACKWARDS_READS]
        assert (found.count, len(found.examples)) == (20, EXAMPLES_MAX)

    def test_says_what_was_seen_and_when(self):
        found = judge([wrote(5, 0), wrote(6, 1), read(7.25, 0)], FINAL).findings[Invariant.STALE_READS]
        assert found.examples == (
            "session 0 read user 1 version 0 at 2.250–2.350 s; but session 0 wrote user 1 version 1 at 1.000–1.100 s",
        )

    def test_counts_by_kind_and_outcome(self):
        verdict = judge([wrote(0, 1), wrote(1, 2, outcome=Outcome.FAIL), read(2, 1)], FINAL)
        assert verdict.by_kind == {"get_own": {"ok": 1}, "patch": {"ok": 1, "fail": 1}}


class TestControls:
    def test_each_is_caught(self):
        history, final = clean_run()
        bounds = Bounds(1.5)
        found = run_controls(history, final, bounds, judge(history, final, bounds))
        assert found == dict.fromkeys(Invariant, Control.CAUGHT)

    def test_each_is_caught_among_true_violations(self):
        history, final = clean_run()
        seen = read(200, 50, session=0, key="0")
        gone = read(201, ABSENT, session=0, key="0")
        failed = read(202, None, outcome=Outcome.FAIL, status=500, key="0")
        history = [*history, seen, gone, failed]
        final = replace(final, versions={**final.versions, "2": 80})
        found = run_controls(history, final, Bounds(), judge(history, final))
        assert found == {**dict.fromkeys(Invariant, Control.CAUGHT), Invariant.LONG_GAPS_WITHOUT_WRITES: "impossible"}

    def test_nothing_can_be_planted_in_nothing(self):
        assert set(run_controls([], FINAL, Bounds(1.0), judge([], FINAL)).values()) == {Control.IMPOSSIBLE}

    def test_a_judge_that_overlooks_one_is_found_out(self, monkeypatch):
        history, final = clean_run()
        monkeypatch.setattr(controls, "judge", lambda *_: judge(history, final))
        report = conclude(history, final, seconds=100)
        assert report.controls[Invariant.STALE_READS] is Control.MISSED
        assert report.exit_code() is ExitCode.UNKNOWN


class TestConclude:
    def test_clean(self):
        report = conclude(*clean_run(), seconds=100)
        assert (report.doubts, report.exit_code()) == ((), ExitCode.DONE)
        assert report.exit_code(expects_violations=True) is ExitCode.REFUSED

    def test_violations(self):
        history, final = clean_run()
        report = conclude(history, replace(final, versions={**final.versions, "2": 80}), seconds=100)
        assert report.exit_code() is ExitCode.REFUSED
        assert report.exit_code(expects_violations=True) is ExitCode.DONE

    def test_a_system_that_never_writes_again(self):
        history, _ = clean_run()
        report = conclude(history, None, seconds=100)
        assert report.exit_code() is ExitCode.UNKNOWN
        assert report.doubts == ("the system accepted no write after the load, so what it holds is not known",)

    def test_too_few_operations(self):
        assert conclude(*clean_run(length=5), seconds=5).exit_code(expects_violations=True) is ExitCode.UNKNOWN

    def test_users_who_could_not_be_read(self):
        history, final = clean_run()
        report = conclude(history, replace(final, unread=("0",)), seconds=100)
        assert report.doubts == ("1 users could not be read after the load",)


def answer(status: int | None, *, was_sent: bool = True, **body) -> Answer:
    return Answer(0.0, 0.1, status, body, was_sent=was_sent)


class TestOutcomes:
    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (answer(200), Outcome.OK),
            (answer(201), Outcome.OK),
            (answer(401), Outcome.FAIL),
            (answer(409), Outcome.FAIL),
            (answer(429), Outcome.FAIL),
            (answer(503, detail="The database accepts no writes. This one was not made."), Outcome.FAIL),
            (answer(503, detail="Whether the change was made is unknown."), Outcome.UNKNOWN),
            (answer(500), Outcome.UNKNOWN),
            (answer(502), Outcome.UNKNOWN),
            (answer(None), Outcome.UNKNOWN),
            (answer(None, was_sent=False), Outcome.FAIL),
        ],
    )
    def test_of_writes(self, answer, outcome):
        assert write_outcome(answer) is outcome

    @pytest.mark.parametrize(
        ("reading", "version", "outcome"),
        [
            (read_profile(answer(200, city="v000004")), 4, Outcome.OK),
            (read_profile(answer(404)), ABSENT, Outcome.OK),
            (read_profile(answer(503, detail="No node.")), None, Outcome.FAIL),
            (read_profile(answer(200, city="Москва")), None, Outcome.FAIL),
            (read_own_profile(answer(401, detail="The user of this token no longer exists.")), ABSENT, Outcome.OK),
            (read_own_profile(answer(401, detail="The token is expired.")), None, Outcome.FAIL),
            (read_login(answer(200, accessToken="a.b.c")), None, Outcome.OK),
            (read_login(answer(401)), ABSENT, Outcome.OK),
            (read_login(answer(500)), None, Outcome.FAIL),
            (read_search(answer(200, users=[{"userId": 7, "city": "v000002"}]), key="7"), 2, Outcome.OK),
            (read_search(answer(200, users=[{"userId": 8, "city": "v000002"}]), key="7"), ABSENT, Outcome.OK),
            (read_search(answer(None), key="7"), None, Outcome.FAIL),
        ],
    )
    def test_of_reads(self, reading, version, outcome):
        assert (reading.version, reading.outcome) == (version, outcome)


class TestNewestKnown:
    def test_what_was_acknowledged_or_seen_of_the_registered(self):
        history = [
            op(Kind.REGISTER, 0),
            wrote(1, 1),
            wrote(2, 2, outcome=Outcome.UNKNOWN),
            read(3, 2),
            op(Kind.REGISTER, 4, key="new@example.com", outcome=Outcome.UNKNOWN),
        ]
        assert newest_known(history) == {"1": 2}
