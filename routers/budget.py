"""How many reads may fall back to the primary: a token bucket. Pure; the clock is passed in."""

from __future__ import annotations

import threading


class Budget:
    """Lets `per_second` through in the long run, and up to one second's worth at once. Safe for several threads.

    >>> budget = Budget(per_second=2.0)
    >>> [budget.take(now=0.0) for _ in range(3)], budget.take(now=0.5)
    ([True, True, False], True)
    """

    def __init__(self, *, per_second: float) -> None:
        self.per_second = per_second
        self._burst = max(1.0, per_second)
        self._left = self._burst
        self._at: float | None = None
        self._lock = threading.Lock()

    def take(self, *, now: float) -> bool:
        """Whether one more may pass at `now`, in monotonic seconds."""
        with self._lock:
            elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
            self._at = now
            self._left = min(self._burst, self._left + elapsed * self.per_second)
            if self._left < 1:
                return False
            self._left -= 1
            return True
