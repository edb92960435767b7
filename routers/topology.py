"""Decides from the newest answers which node is the primary and which replicas are good. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from routers.lag import PrimaryHistory
from routers.lsn import Lsn
from routers.node import Answer, Condition, Node, NodeStatus, Role, Topology, Unreachable


@dataclass(frozen=True, slots=True)
class Limits:
    """How far behind a replica may be, and how it comes back."""

    max_lag_bytes: int
    max_lag_seconds: float
    readmit_after: int
    """Answers in a row a node must give after it was unreachable."""


_BACK_WITHIN = 0.5
"""A replica that lagged is good again at half the limit, so that it does not come and go at the limit itself."""


_MISSES_OF_A_PRIMARY = 2


class Cuts(NamedTuple):
    """Aliases whose open connections are to be cut, by what runs on them."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    """Only those that wait in a commit."""


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
    marks: Mapping[str, Lsn],
    limits: Limits,
    now: float,
) -> Topology:
    """The topology after the newest answers.

    Args:
        previous: The one before.
        answers: The newest answer of every node.
        leadership: Who is the primary.
        history: Where the primary was when.
        answers_in_a_row: Since the node was last unreachable.
        marks: What a returned replica must have replayed before it serves again: after a crash it may
            show less than before.
        limits: What makes a replica good.
        now: Monotonic seconds.
    """
    nodes = {}
    for alias, answer in answers.items():
        before = previous.nodes.get(alias)
        if isinstance(answer, Unreachable):
            incarnation = before.incarnation if before else 0
            nodes[alias] = Node(alias, Condition.UNREACHABLE, None, incarnation=incarnation, reason=answer.reason)
        else:
            lag = _lag(answer, history, now)
            condition, reason = _membership(alias, answer, leadership) or (
                _readiness(answer, answers_in_a_row.get(alias, 0), marks.get(alias), limits)
                or _lateness(lag, limits, was_lagging=before is not None and before.condition is Condition.LAGGING)
                or (Condition.GOOD, "")
            )
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
        switches=_switches(previous, answers, leadership),
        is_stuck=_is_stuck(previous, nodes.get(leadership.primary or "")),
    )


def connections_to_cut(before: Topology, after: Topology, misses: Mapping[str, int]) -> Cuts:
    """Which nodes' open connections must not be waited on any longer.

    Reads are run elsewhere, so one missed answer is enough. A write whose connection is cut has an unknown
    end: only a second miss, or another primary, is worth that. A commit that waits for replicas which are
    not there would wait for ever.
    """
    gone = [alias for alias, node in after.nodes.items() if node.condition is Condition.UNREACHABLE]
    deposed = [
        alias
        for alias, node in after.nodes.items()
        if alias == before.primary != after.primary and node.condition is not Condition.UNREACHABLE
    ]
    return Cuts(
        reads=tuple(alias for alias in gone if misses.get(alias, 0) == 1),
        writes=(*deposed, *(alias for alias in gone if misses.get(alias, 0) == _MISSES_OF_A_PRIMARY)),
        commits=(after.primary,) if after.primary is not None and after.is_stuck else (),
    )


def _is_stuck(previous: Topology, leader: Node | None) -> bool:
    """Whether two answers of the primary in a row say so: a replica that restarts is back before anybody notices."""
    before = previous.nodes.get(leader.alias) if leader else None
    if leader is None or leader.status is None or before is None or before.status is None:
        return False
    if leader.status is before.status:
        # Another node has answered meanwhile; this one says nothing new.
        return previous.is_stuck
    return leader.status.is_stuck and before.status.is_stuck


def _switches(previous: Topology, answers: Mapping[str, Answer], leadership: Leadership) -> Mapping[int, Lsn]:
    """Where the older timelines ended: as the primary's history says, or as far as was seen.

    Without its history the last position of the new primary while it was a replica is taken: it had at
    least replayed that before it was promoted.
    """
    leader = answers.get(leadership.primary or "")
    if isinstance(leader, NodeStatus) and leader.switches is not None:
        return MappingProxyType(dict(leader.switches))
    if leadership.timeline == previous.timeline or not previous.timeline:
        return previous.switches
    promoted = previous.nodes.get(leadership.primary or "")
    if promoted is None or promoted.status is None or promoted.status.role is Role.PRIMARY:
        return MappingProxyType({})
    return MappingProxyType({**previous.switches, previous.timeline: promoted.status.lsn})


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


_Verdict = tuple[Condition, str]


def _membership(alias: str, status: NodeStatus, leadership: Leadership) -> _Verdict | None:
    """What the node is to this cluster. None: a replica that follows it."""
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
    return None


def _readiness(status: NodeStatus, in_a_row: int, mark: Lsn | None, limits: Limits) -> _Verdict | None:
    """Whether a replica that was away may serve again. None: it may."""
    if in_a_row < limits.readmit_after:
        return Condition.READMITTING, f"{in_a_row} of {limits.readmit_after} answers since it was unreachable"
    if mark is not None and status.lsn < mark:
        return Condition.READMITTING, f"at {status.lsn}, has to reach {mark} before it serves again"
    return None


def _lateness(lag: _Lag, limits: Limits, *, was_lagging: bool) -> _Verdict | None:
    """Whether a replica is too far behind. None: it is not."""
    part = _BACK_WITHIN if was_lagging else 1.0
    if lag.bytes is not None and lag.bytes > limits.max_lag_bytes * part:
        return Condition.LAGGING, f"{lag.bytes} bytes behind, the limit is {limits.max_lag_bytes * part:.0f}"
    if lag.seconds is not None and lag.seconds > limits.max_lag_seconds * part:
        return Condition.LAGGING, f"{lag.seconds:.1f} s behind, the limit is {limits.max_lag_seconds * part:.1f}"
    return None


def _incarnation(before: Node | None, status: NodeStatus) -> int:
    """Connections opened before a restart, a promotion or a demotion must not be used after it."""
    if before is None:
        return 1
    was = before.status
    is_same = was is not None and (was.role, was.system_identifier) == (status.role, status.system_identifier)
    return before.incarnation if is_same else before.incarnation + 1
