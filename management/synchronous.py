"""Which replicas must confirm a commit: the value of `synchronous_standby_names`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class SyncMode(StrEnum):
    """How commits wait."""

    FIRST = "first"
    """For one replica: the first of the list that is connected. The others are asynchronous until it is gone."""
    QUORUM = "quorum"
    """For any one of all replicas."""
    OFF = "off"
    """For none: a commit acknowledged just before the primary dies may be lost."""


@dataclass(frozen=True, slots=True)
class SynchronousReplication:
    """The mode, and the replicas that may confirm."""

    mode: SyncMode
    names: tuple[str, ...] = ()

    @classmethod
    def choose(cls, mode: SyncMode, replicas: Sequence[str]) -> SynchronousReplication:
        """For these replicas, in the order of preference. Without any, commits wait for none."""
        if not replicas or mode is SyncMode.OFF:
            return cls(mode)
        return cls(mode, tuple(replicas))

    def setting(self) -> str:
        """As PostgreSQL reads it.

        >>> SynchronousReplication.choose(SyncMode.FIRST, ["pg2", "pg3"]).setting()
        'FIRST 1 ("pg2", "pg3")'
        >>> SynchronousReplication.choose(SyncMode.QUORUM, ["pg2", "pg3"]).setting()
        'ANY 1 ("pg2", "pg3")'
        >>> SynchronousReplication.choose(SyncMode.OFF, ["pg2"]).setting()
        ''
        """
        if not self.names:
            return ""
        keyword = "FIRST" if self.mode is SyncMode.FIRST else "ANY"
        quoted = ", ".join(f'"{name}"' for name in self.names)
        return f"{keyword} 1 ({quoted})"

    def covers_all_acknowledged(self, answering: Collection[str]) -> bool:
        """Whether the replicas that answer hold every acknowledged commit between them.

        One replica confirms each, and which one it was for the last is not known: all must answer.
        """
        return bool(self.names) and all(name in answering for name in self.names)
