"""Which replicas must confirm a commit: the value of `synchronous_standby_names`. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


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


_LIST: Final = re.compile(r"\s*(?:(?:(FIRST|ANY)\s+)?(\d+)\s*\((.*)\)|(.*))\s*", re.IGNORECASE | re.DOTALL)
_NAME: Final = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')


@dataclass(frozen=True, slots=True)
class StandbyList:
    """What a server's `synchronous_standby_names` says."""

    is_quorum: bool
    count: int
    """How many replicas must confirm a commit. 0: none."""
    names: tuple[str, ...]
    """`*` stands for every replica."""

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read PostgreSQL's notation, in all its forms.

        Grammar: PostgreSQL docs, Replication, synchronous_standby_names.

        >>> StandbyList.parse('ANY 2 ("pg2", pg3,pg4)')
        StandbyList(is_quorum=True, count=2, names=('pg2', 'pg3', 'pg4'))
        >>> StandbyList.parse("pg2, pg3") == StandbyList.parse("1 (pg2, pg3)") == StandbyList.parse("first 1 (pg2,pg3)")
        True
        >>> StandbyList.parse("")
        StandbyList(is_quorum=False, count=0, names=())
        """
        match = _LIST.fullmatch(setting)
        keyword, count, inside, plain = match.groups() if match else (None, None, None, setting)
        names = tuple(quoted.replace('""', '"') or bare for quoted, bare in _NAME.findall(inside or plain or ""))
        return cls((keyword or "").upper() == "ANY", int(count or 1) if names else 0, names)

    def matches(self, name: str) -> bool:
        """Whether this replica may confirm."""
        return name in self.names or "*" in self.names
