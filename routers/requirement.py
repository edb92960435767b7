"""What a client's token demands of the nodes as they are now. Pure.

Positions compare within one timeline only. A token of an older one is compared with the point where that
timeline ended: a bare LSN of a lost timeline would later seem to be reached, by other WAL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from routers.lsn import Lsn
from routers.node import Condition, Node, Topology
from routers.token import Token

NO_POSITION: Final = Lsn(0)
"""Before everything."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a node must show to this client."""

    lsn: Lsn = NO_POSITION
    """It must have replayed this, on the cluster's timeline."""
    seen_on: str = ""
    """It must have replayed what this node shows: an alias, or `default`. Empty: nothing more than `lsn`."""
    is_possibly_lost: bool = False
    """What the client wrote or saw may not be on this timeline: read the primary, and say so."""


NOTHING = Requirement()


def require(token: Token | None, topology: Topology, *, primary_alias: str) -> Requirement:
    """Judge a token.

    Args:
        token: What the client brought. None: nothing. One of another cluster demands nothing either.
        topology: The snapshot to judge against.
        primary_alias: The alias that means the primary, in a token's `node`.
    """
    if token is None or token.system_identifier != topology.system_identifier:
        return NOTHING
    if token.timeline == topology.timeline:
        return Requirement(token.lsn, token.node)
    switch = topology.switches.get(token.timeline)
    if switch is None or token.lsn > switch:
        return Requirement(is_possibly_lost=True)
    if not token.node or token.node in topology.good_replicas:
        return Requirement(token.lsn, token.node)
    if token.node == topology.primary or _came_along(topology.nodes.get(token.node), switch):
        # Whatever it showed is part of this timeline, so the primary's position covers it.
        return Requirement(token.lsn, primary_alias)
    # Seen on a node that is not part of this timeline, or that cannot be asked.
    return Requirement(is_possibly_lost=True)


def _came_along(node: Node | None, switch: Lsn) -> bool:
    """Whether a replica shows nothing that the promotion left behind."""
    if node is None or node.status is None:
        return False
    follows = node.condition in {Condition.LAGGING, Condition.READMITTING}
    return follows or (node.condition is Condition.OLD_TIMELINE and node.status.lsn <= switch)
