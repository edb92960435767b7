"""What is known of a node and of all nodes at one instant. Values only: nothing here decides or asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from routers.lsn import Lsn


class Role(StrEnum):
    """What a node does, by `pg_is_in_recovery()`."""

    PRIMARY = "primary"
    REPLICA = "replica"


class Condition(StrEnum):
    """Whether a node may be used, and if not, why."""

    GOOD = "good"
    LAGGING = "lagging"
    """Answers, but is further behind the primary than the limits allow."""
    READMITTING = "readmitting"
    """Answers again after it was unreachable, but not often enough yet."""
    OLD_TIMELINE = "old_timeline"
    """A replica of a history that ended with a promotion this cluster has already shown."""
    FENCED = "fenced"
    """Accepts writes, but is not this cluster's primary: routing keeps away from it."""
    FOREIGN = "foreign"
    """Another system identifier: it belongs to another cluster."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The answer of one node to one probe."""

    role: Role
    system_identifier: int
    timeline: int
    """WAL history number. On a replica the newest it is known to follow."""
    lsn: Lsn
    """Flush LSN on the primary, replay LSN on a replica."""
    receive_lsn: Lsn | None = None
    """WAL received and synced. None on a primary and on a replica that has received nothing yet."""
    is_streaming: bool = False
    """Whether the WAL receiver is connected. False also when the probing role may not see it."""
    replay_age_seconds: float | None = None
    """Age of the last replayed commit by the node's clock. None if none was replayed. Grows while idle."""
    synchronous_replicas: int | None = None
    """On a primary whose commits wait for replicas: how many of them are connected. None: they wait for none,
    or the probing role may not see it."""
    switches: Mapping[int, Lsn] | None = None
    """On a primary: where each older timeline of its history ended. None if it could not be asked."""

    @property
    def is_stuck(self) -> bool:
        """Whether a commit would wait for a replica that is not there."""
        return self.synchronous_replicas == 0


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A probe that brought no answer. Silence is unknown, and unknown is never healthy."""

    reason: str


Answer = NodeStatus | Unreachable


@dataclass(frozen=True, slots=True)
class Node:
    """One node as routing sees it."""

    alias: str
    """Its key in `DATABASES`."""
    condition: Condition
    status: NodeStatus | None
    """Its newest answer. None while it is unreachable."""
    lag_bytes: int | None = None
    """WAL the primary has flushed and this replica has not replayed. None if unknown."""
    lag_seconds: float | None = None
    """For how long that WAL has been waiting. None if unknown."""
    incarnation: int = 0
    """Changes when connections opened before may no longer mean what they meant."""
    reason: str = ""
    """In words, why it is not good."""


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes with role, timeline and positions at one instant."""

    nodes: Mapping[str, Node] = field(default_factory=lambda: MappingProxyType({}))
    primary: str | None = None
    """Alias of the node that accepts writes. None when no node is known to."""
    good_replicas: tuple[str, ...] = ()
    """Aliases of the replicas that may serve reads, in a fixed order."""
    system_identifier: int | None = None
    timeline: int = 0
    """The highest timeline this cluster has shown. A node of an older one is never its primary."""
    switches: Mapping[int, Lsn] = field(default_factory=lambda: MappingProxyType({}))
    """Where each older timeline of the cluster's history ended. What is missing was never part of it, or is unknown."""
    is_stuck: bool = False
    """Whether commits on the primary wait for replicas that are not there."""

    def incarnation_of(self, alias: str) -> int | None:
        """The incarnation of a node, or None for an alias that is not a node."""
        node = self.nodes.get(alias)
        return node.incarnation if node else None
