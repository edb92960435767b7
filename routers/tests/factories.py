"""Short forms of the values that routing decides on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from routers.lag import PrimaryHistory
from routers.lsn import Lsn
from routers.node import Answer, Condition, Node, NodeStatus, Role, Topology
from routers.topology import Limits, assess, find_primary

SYSTEM = 7
LIMITS = Limits(max_lag_bytes=1000, max_lag_seconds=5.0, readmit_after=2)


def primary(*, lsn: int = 5000, timeline: int = 1, system: int = SYSTEM) -> NodeStatus:
    return NodeStatus(Role.PRIMARY, system, timeline, Lsn(lsn))


def replica(*, lsn: int = 5000, timeline: int = 1, system: int = SYSTEM, age: float | None = 0.0) -> NodeStatus:
    return NodeStatus(Role.REPLICA, system, timeline, Lsn(lsn), is_streaming=True, replay_age_seconds=age)


def observe(
    answers: Mapping[str, Answer],
    *,
    previous: Topology | None = None,
    history: PrimaryHistory | None = None,
    in_a_row: Mapping[str, int] | None = None,
    now: float = 100.0,
) -> Topology:
    """What the monitor does with one set of answers."""
    before = previous or Topology()
    known = history or PrimaryHistory()
    leadership = find_primary(before, answers)
    leader = answers.get(leadership.primary or "")
    if isinstance(leader, NodeStatus):
        known.record(leader.lsn, now)
    return assess(
        before,
        answers,
        leadership=leadership,
        history=known,
        marks={},
        answers_in_a_row=in_a_row or dict.fromkeys(answers, 9),
        limits=LIMITS,
        now=now,
    )


def topology(
    conditions: Mapping[str, Condition], *, primary: str | None = "pg1", lsns: Mapping[str, int] | None = None
) -> Topology:
    """A topology with these conditions; every node but the primary is a replica."""
    nodes = {}
    for alias, condition in conditions.items():
        role = Role.PRIMARY if alias == primary else Role.REPLICA
        status = NodeStatus(role, SYSTEM, 1, Lsn((lsns or {}).get(alias, 0)))
        nodes[alias] = Node(alias, condition, None if condition is Condition.UNREACHABLE else status)
    good = tuple(alias for alias, each in conditions.items() if each is Condition.GOOD and alias != primary)
    return Topology(MappingProxyType(nodes), primary, good, SYSTEM, 1)
