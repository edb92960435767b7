"""Chooses the node that serves a request's reads. Pure: a snapshot in, a choice and its reason out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from routers.lsn import Lsn
from routers.node import Condition, Node, Role, Topology


class Reason(StrEnum):
    """Why a query goes where it goes. Each is a label of `routers_decisions_total`."""

    MASTER_ONLY = "master_only"
    INSTANCE_OF_PRIMARY = "instance_of_primary"
    PINNED = "pinned"
    IN_TRANSACTION = "in_transaction"
    PRIMARY_APP = "primary_app"
    OUTSIDE_REQUEST = "outside_request"
    SAME_NODE = "same_node"
    REPLICA = "replica"
    SEEN_NODE = "seen_node"
    CAUGHT_UP = "caught_up"
    WAITED = "waited"
    BEHIND = "behind"
    POSSIBLY_LOST = "possibly_lost"
    NO_GOOD_REPLICA = "no_good_replica"
    OVER_BUDGET = "over_budget"
    FRESHEST_WITHOUT_PRIMARY = "freshest_without_primary"
    FAILOVER = "failover"
    NO_NODE = "no_node"
    OBSERVED = "observed"
    WRITE = "write"


class Choice(NamedTuple):
    """Where a read goes. `alias` None means the primary."""

    alias: str | None
    reason: Reason


_ANSWERING = (Condition.LAGGING, Condition.READMITTING)
"""Conditions of a replica that is not good, but better than nothing; the better first."""


def choose_replica(topology: Topology, good: Sequence[str], *, lsn: Lsn, turn: int) -> Choice | None:
    """A good replica in turn that is known to have replayed `lsn`; None if none is known to.

    Args:
        topology: The snapshot to decide on.
        good: The aliases to choose from.
        lsn: What the client must be shown. 0: nothing.
        turn: A number that grows with each request, so that the good replicas share the load.
    """
    if not lsn.value:
        return Choice(good[turn % len(good)], Reason.REPLICA) if good else None
    reached = [alias for alias in good if _position(topology.nodes[alias]) >= lsn]
    return Choice(reached[turn % len(reached)], Reason.CAUGHT_UP) if reached else None


def worth_waiting_for(topology: Topology, good: Sequence[str], *, max_lag_seconds: float) -> list[str]:
    """Good replicas that may be expected to catch up in a moment, the most advanced first."""
    nodes = [topology.nodes[alias] for alias in good]
    close = [node for node in nodes if (node.lag_seconds or 0.0) <= max_lag_seconds]
    return [node.alias for node in sorted(close, key=_position, reverse=True)]


def freshest(topology: Topology, *, without: Collection[str] = ()) -> Choice:
    """The replica to read from when nothing better can answer: in the best condition, the most advanced."""
    answering = [
        (-_ANSWERING.index(node.condition), node.status.lsn, node.alias)
        for node in topology.nodes.values()
        if node.status is not None
        and node.status.role is Role.REPLICA
        and node.condition in _ANSWERING
        and node.alias not in without
    ]
    good = [(1, _position(topology.nodes[alias]), alias) for alias in topology.good_replicas if alias not in without]
    everything = [*good, *answering]
    return Choice(max(everything)[2], Reason.FRESHEST_WITHOUT_PRIMARY) if everything else Choice(None, Reason.NO_NODE)


def may_keep(topology: Topology, alias: str) -> bool:
    """Whether a request that reads from the replica `alias` may go on doing so.

    One that begins to lag is kept: two queries of one page do not come from two points in time.
    """
    if alias in topology.good_replicas:
        return True
    node = topology.nodes.get(alias)
    return (
        node is not None
        and node.status is not None
        and node.status.role is Role.REPLICA
        and (node.condition is Condition.LAGGING or _is_last(topology, node))
    )


def can_read(topology: Topology) -> bool:
    """Whether any node can serve reads."""
    return topology.primary is not None or freshest(topology).alias is not None


def _is_last(topology: Topology, node: Node) -> bool:
    return topology.primary is None and not topology.good_replicas and node.condition in _ANSWERING


def _position(node: Node) -> Lsn:
    return node.status.lsn if node.status else Lsn(0)
