"""Decides from the newest answers which node is the primary and which replicas are good. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from routers.lag import PrimaryHistory
from routers.node import Answer, Condition, Node, NodeStatus, Role, Topology, Unreachable


@dataclass(frozen=True, slots=True)
class Limits:
    """How far behind a replica may be, and how it comes back."""

    max_lag_bytes: int
    max_lag_seconds: float
    readmit_after: int
    """Answers in a row a node must give after it was unreachable."""


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads which history."""

    primary: str | None
    system_identifier: int | None
    timeline: int


def find_primary(previous: Topology, answers: Mapping[str, Answer]) -> Leadership:
    """The one node that accepts writes on the newest timeline ever shown, if there is one.

    A returned old primary also accepts writes; its timeline tells it apart. Two nodes that accept
    writes on one timeline are a split brain: the known primary stays, and without one there is none.
    """
    identifier = previous.system_identifier or _commonest_identifier(answers)
    members = {
        alias: answer
        for alias, answer in answers.items()
        if isinstance(answer, NodeStatus) and answer.system_identifier == identifier
    }
    timeline = max([previous.timeline, *(status.timeline for status in members.values())])
    writable = [
        alias for alias, status in members.items() if status.role is Role.PRIMARY and status.timeline == timeline
    ]
    if len(writable) == 1:
        primary: str | None = writable[0]
    else:
        primary = previous.primary if previous.primary in writable else None
    return Leadership(primary, identifier, timeline)


def assess(  # noqa: PLR0913 - each is one independent fact
    previous: Topology,
    answers: Mapping[str, Answer],
    *,
    leadership: Leadership,
    history: PrimaryHistory,
    answers_in_a_row: Mapping[str, int],
    limits: Limits,
    now: float,
) -> Topology:
    """The topology after the newest answers. `now` is monotonic seconds."""
    nodes = {}
    for alias, answer in answers.items():
        before = previous.nodes.get(alias)
        if isinstance(answer, Unreachable):
            incarnation = before.incarnation if before else 0
            nodes[alias] = Node(alias, Condition.UNREACHABLE, None, incarnation=incarnation, reason=answer.reason)
        else:
            lag = _lag(answer, history, now)
            condition, reason = _judge(alias, answer, leadership, lag, answers_in_a_row.get(alias, 0), limits)
            nodes[alias] = Node(alias, condition, answer, *lag, _incarnation(before, answer), reason)
    return Topology(
        nodes=MappingProxyType(nodes),
        primary=leadership.primary,
        good_replicas=tuple(
            node.alias
            for node in nodes.values()
            if node.condition is Condition.GOOD and node.status and node.status.role is Role.REPLICA
        ),
        system_identifier=leadership.system_identifier,
        timeline=leadership.timeline,
    )


def _commonest_identifier(answers: Mapping[str, Answer]) -> int | None:
    counts = Counter(answer.system_identifier for answer in answers.values() if isinstance(answer, NodeStatus))
    return counts.most_common(1)[0][0] if counts else None


class _Lag(NamedTuple):
    bytes: int | None
    seconds: float | None


def _lag(status: NodeStatus, history: PrimaryHistory, now: float) -> _Lag:
    if status.role is Role.PRIMARY:
        return _Lag(None, None)
    seconds = history.lag_seconds(status.lsn, now=now, replay_age_seconds=status.replay_age_seconds)
    return _Lag(history.lag_bytes(status.lsn), seconds)


def _judge(
    alias: str, status: NodeStatus, leadership: Leadership, lag: _Lag, in_a_row: int, limits: Limits
) -> tuple[Condition, str]:
    if status.system_identifier != leadership.system_identifier:
        return (
            Condition.FOREIGN,
            f"system identifier {status.system_identifier}, the cluster's is {leadership.system_identifier}",
        )
    if alias == leadership.primary:
        return Condition.GOOD, ""
    if status.role is Role.PRIMARY:
        return (
            Condition.FENCED,
            f"accepts writes on timeline {status.timeline}, the cluster is on {leadership.timeline}",
        )
    if status.timeline < leadership.timeline:
        return Condition.OLD_TIMELINE, f"follows timeline {status.timeline}, the cluster is on {leadership.timeline}"
    if in_a_row < limits.readmit_after:
        return Condition.READMITTING, f"{in_a_row} of {limits.readmit_after} answers since it was unreachable"
    if lag.bytes is not None and lag.bytes > limits.max_lag_bytes:
        return Condition.LAGGING, f"{lag.bytes} bytes behind, the limit is {limits.max_lag_bytes}"
    if lag.seconds is not None and lag.seconds > limits.max_lag_seconds:
        return Condition.LAGGING, f"{lag.seconds:.1f} s behind, the limit is {limits.max_lag_seconds:.1f}"
    return Condition.GOOD, ""


def _incarnation(before: Node | None, status: NodeStatus) -> int:
    """Connections opened before a restart, a promotion or a demotion must not be used after it."""
    if before is None:
        return 1
    was = before.status
    is_same = was is not None and (was.role, was.system_identifier) == (status.role, status.system_identifier)
    return before.incarnation if is_same else before.incarnation + 1
