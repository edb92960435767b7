"""How many reads may fall back to the primary: a token bucket with a queue. Pure; the clock is passed in."""

from __future__ import annotations

import threading


class Budget:
    """Lets `per_second` through in the long run, and up to one second's worth at once. Safe for several threads.

    >>> budget = Budget(per_second=2.0)
    >>> [budget.take(now=0.0, max_wait_seconds=0.5) for _ in range(4)]
    [0.0, 0.0, 0.5, None]
    >>> budget.take(now=1.0, max_wait_seconds=0.0)
    0.0
    """

    def __init__(self, *, per_second: float) -> None:
        self.per_second = per_second
        self._burst = max(1.0, per_second)
        self._left = self._burst
        """Below zero: so many wait for their turn."""
        self._at: float | None = None
        self._lock = threading.Lock()

    def take(self, *, now: float, max_wait_seconds: float) -> float | None:
        """How many seconds after `now`, monotonic, one more may pass. None: longer than it wants to wait; not taken."""
        with self._lock:
            elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
            self._at = now
            self._left = min(self._burst, self._left + elapsed * self.per_second)
            wait_seconds = max(0.0, (1.0 - self._left) / self.per_second)
            if wait_seconds > max_wait_seconds:
                return None
            self._left -= 1.0
            return wait_seconds
