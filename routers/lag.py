"""How long a replica's missing WAL has been waiting, by this process's monotonic clock.

`now() - pg_last_xact_replay_timestamp()` grows on an idle primary, and the columns of
`pg_stat_replication` need the primary alive. Remembering when the primary was first seen at each
position needs neither, and no clock but one.
"""

from __future__ import annotations

from bisect import bisect_right

from routers.lsn import Lsn

_SAMPLES_KEPT = 4096


class PrimaryHistory:
    """When the primary's flush LSN was first seen to pass each position. Bounded."""

    def __init__(self) -> None:
        self._lsns: list[Lsn] = []
        self._seen_at: list[float] = []

    def record(self, lsn: Lsn, now: float) -> None:
        """Remember that the primary was at `lsn` at monotonic time `now`, in seconds."""
        if self._lsns and lsn <= self._lsns[-1]:
            return
        self._lsns.append(lsn)
        self._seen_at.append(now)
        if len(self._lsns) > _SAMPLES_KEPT:
            # Thin the older half rather than forget it: old lag stays old, only less exact.
            half = _SAMPLES_KEPT // 2
            del self._lsns[1:half:2], self._seen_at[1:half:2]

    def clear(self) -> None:
        """Forget everything: positions of another timeline do not compare."""
        self._lsns.clear()
        self._seen_at.clear()

    @property
    def newest(self) -> Lsn | None:
        """The furthest position seen, or None before the first."""
        return self._lsns[-1] if self._lsns else None

    def lag_bytes(self, replay_lsn: Lsn) -> int | None:
        """Bytes the replica at `replay_lsn` is behind the primary; None before the primary was seen."""
        newest = self.newest
        return None if newest is None else replay_lsn.bytes_behind(newest)

    def lag_seconds(self, replay_lsn: Lsn, *, now: float, replay_age_seconds: float | None) -> float | None:
        """Seconds since the first WAL that the replica misses was seen on the primary; 0 if it misses none.

        For WAL from before this process began to watch, the replica's own figure is taken.
        """
        if self.newest is None:
            return None
        index = bisect_right(self._lsns, replay_lsn)
        if index == len(self._lsns):
            return 0.0
        waited = max(0.0, now - self._seen_at[index])
        return waited if index > 0 or replay_age_seconds is None else max(waited, replay_age_seconds)
