"""What is recorded of one operation of one session. Facts only: `judge` says what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ABSENT: Final = -1
"""The version of a read that found nobody: below that of every registration, which is 0."""


class Kind(StrEnum):
    """What a session did."""

    REGISTER = "register"
    LOGIN = "login"
    PATCH = "patch"
    GET_OWN = "get_own"
    GET_OTHER = "get_other"
    SEARCH = "search"


class Outcome(StrEnum):
    """How it ended."""

    OK = "ok"
    """A write was acknowledged; a read was answered, be it with "there is nobody"."""
    FAIL = "fail"
    """A write was definitely not made; a read got no usable answer."""
    UNKNOWN = "unknown"
    """A write that may have been made, now or later. Never a read."""


WRITES: Final = frozenset({Kind.REGISTER, Kind.PATCH})


@dataclass(frozen=True, slots=True)
class Operation:
    """One request and its answer. A session has one operation at a time."""

    session: int
    kind: Kind
    key: str
    """The user's id; the e-mail of a registration that was not acknowledged."""
    version: int | None
    """Written or read; ABSENT if a read found nobody; None if the answer tells none (a login, a failed read)."""
    invoked_at: float
    """Monotonic seconds, as is `completed_at`."""
    completed_at: float
    outcome: Outcome
    status: int | None
    """Of HTTP; None without an answer."""
    timeline: int | None = None
    """From the consistency token of the answer; None without one."""
    is_flagged: bool = False
    """The answer says of itself that it may be stale or follow a lost write."""
    node: str | None = None
    """Who served the read, where the server tells."""
    detail: str = ""
    """How it was read, or why it failed."""

    @property
    def is_write(self) -> bool:
        """Whether it was to change something."""
        return self.kind in WRITES

    @property
    def is_acknowledged_write(self) -> bool:
        """Whether it was promised to last."""
        return self.outcome is Outcome.OK and self.kind in WRITES

    @property
    def is_answered_read(self) -> bool:
        """Whether it showed something, or that there is nobody."""
        return self.outcome is Outcome.OK and self.kind not in WRITES
