from routers.lag import PrimaryHistory
from routers.lsn import Lsn


def history(*samples: tuple[int, float]) -> PrimaryHistory:
    known = PrimaryHistory()
    for lsn, seen_at in samples:
        known.record(Lsn(lsn), seen_at)
    return known


def seconds(known: PrimaryHistory, lsn: int, *, now: float, age: float | None = None) -> float | None:
    return known.lag_seconds(Lsn(lsn), now=now, replay_age_seconds=age)


class TestPrimaryHistory:
    def test_knows_nothing_before_the_primary_was_seen(self):
        assert (seconds(PrimaryHistory(), 5, now=1.0), PrimaryHistory().lag_bytes(Lsn(5))) == (None, None)

    def test_a_caught_up_replica_has_no_lag_however_long_the_primary_is_idle(self):
        assert seconds(history((10, 0.0)), 10, now=3600.0, age=3600.0) == 0.0

    def test_lag_begins_when_the_first_missing_wal_was_seen(self):
        assert seconds(history((10, 0.0), (20, 50.0), (30, 58.0)), 10, now=60.0) == 10.0

    def test_wal_from_before_watching_is_as_old_as_the_replica_says(self):
        assert seconds(history((10, 100.0)), 5, now=100.5, age=600.0) == 600.0

    def test_the_replica_s_own_figure_does_not_count_for_wal_that_was_watched(self):
        assert seconds(history((10, 0.0), (20, 99.0)), 10, now=100.0, age=600.0) == 1.0

    def test_lag_in_bytes_is_up_to_the_newest_position(self):
        assert history((10, 0.0), (30, 1.0)).lag_bytes(Lsn(12)) == 18

    def test_forgetting_leaves_no_position_of_another_timeline(self):
        known = history((10, 0.0))
        known.clear()
        assert known.newest is None

    def test_is_bounded_and_exact_for_the_newest_half(self):
        known = PrimaryHistory()
        for number in range(20_000):
            known.record(Lsn(number), float(number))
        assert len(known._lsns) <= 4096
        assert seconds(known, 19_000, now=20_000.0) == 999.0
        assert seconds(known, 500, now=20_000.0) > 999.0
