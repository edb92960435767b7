"""Chooses the node that serves a request's reads. Pure: a snapshot in, a choice and its reason out."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from routers.node import Condition, Topology


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
    NO_GOOD_REPLICA = "no_good_replica"
    FRESHEST_WITHOUT_PRIMARY = "freshest_without_primary"
    NO_NODE = "no_node"
    WRITE = "write"


class Choice(NamedTuple):
    """Where a read goes. `alias` None means the primary."""

    alias: str | None
    reason: Reason


def choose_read_node(topology: Topology, *, turn: int) -> Choice:
    """A good replica in turn; else the primary; with no primary either, the freshest that answers.

    Args:
        topology: The snapshot to decide on.
        turn: A number that grows with each request, so that the good replicas share the load.
    """
    good = topology.good_replicas
    if good:
        return Choice(good[turn % len(good)], Reason.REPLICA)
    if topology.primary is not None:
        return Choice(None, Reason.NO_GOOD_REPLICA)
    freshest = _freshest(topology)
    return Choice(freshest, Reason.FRESHEST_WITHOUT_PRIMARY if freshest else Reason.NO_NODE)


def may_keep(topology: Topology, alias: str) -> bool:
    """Whether a request that reads from `alias` may go on doing so."""
    return alias in topology.good_replicas or (
        topology.primary is None
        and not topology.good_replicas
        and topology.nodes[alias].condition in {Condition.LAGGING, Condition.READMITTING}
    )


def _freshest(topology: Topology) -> str | None:
    answering = [
        (node.status.lsn, node.alias)
        for node in topology.nodes.values()
        if node.status is not None and node.condition in {Condition.LAGGING, Condition.READMITTING}
    ]
    return max(answering)[1] if answering else None
