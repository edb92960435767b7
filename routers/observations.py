"""What the nodes have answered so far, and the topology that follows from it. The clock is passed in; asks nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeGuard

from routers.lag import PrimaryHistory
from routers.lsn import Lsn
from routers.node import Answer, NodeStatus, Role, Topology, Unreachable
from routers.topology import Cuts, Limits, assess, connections_to_cut, find_primary


class Observations:
    """Of one process. Not safe for several threads: its owner holds a lock.

    The first node to answer must not say which cluster this is, so nothing is judged before
    `end_first_round`.
    """

    def __init__(self, aliases: Iterable[str], *, limits: Limits, known: Topology) -> None:
        """Nothing seen yet.

        Args:
            aliases: The nodes.
            limits: What makes a replica good.
            known: What was known before: the cluster's system identifier and newest timeline.
        """
        self.topology = known
        """The newest one. Immutable, so any thread may take it."""
        self._limits = limits
        self._is_first_round = True
        self._answers: dict[str, Answer] = {alias: Unreachable("not asked yet") for alias in aliases}
        # The first answer counts in full: nothing has failed yet.
        self._answers_in_a_row = dict.fromkeys(self._answers, limits.readmit_after - 1)
        self._misses = dict.fromkeys(self._answers, 0)
        self._marks: dict[str, Lsn] = {}
        """What a node that was away must have replayed before it serves again."""
        self._highest_timelines = dict.fromkeys(self._answers, 0)
        self._history = PrimaryHistory()

    def record(self, alias: str, answer: Answer, *, now: float) -> Cuts:
        """Add a node's answer at `now`, in monotonic seconds. Returns which connections must be cut."""
        self._answers[alias] = self._with_known_timeline(alias, answer)
        self._count(alias, answer)
        return Cuts() if self._is_first_round else self._reassess(self.topology, now)

    def end_first_round(self, *, now: float) -> Cuts:
        """Judge for the first time: every node was asked once."""
        self._is_first_round = False
        self._reassess(self.topology, now)
        # A replica that has just crashed may still show less than it did to others: see it catch up once.
        self._marks = dict.fromkeys(self._answers, self._newest_position())
        return self._reassess(self.topology, now)

    def learn_timeline(self, timeline: int, *, now: float) -> Cuts:
        """Somebody has seen this timeline: no primary of an older one is believed any more."""
        newest = max(timeline, self.topology.timeline)
        return self._reassess(replace(self.topology, timeline=newest), now)

    def _count(self, alias: str, answer: Answer) -> None:
        if isinstance(answer, Unreachable):
            self._answers_in_a_row[alias] = 0
            self._misses[alias] += 1
            self._marks.pop(alias, None)
            return
        if self._misses[alias] and not self._is_first_round:
            self._marks[alias] = self._newest_position()
        self._misses[alias] = 0
        self._answers_in_a_row[alias] += 1
        mark = self._marks.get(alias)
        if mark is not None and answer.lsn >= mark:
            del self._marks[alias]

    def _newest_position(self) -> Lsn:
        """The furthest that this cluster is known to be."""
        members = [answer.lsn for answer in self._answers.values() if self._is_member(answer)]
        return max([self._history.newest or Lsn(0), *members])

    def _is_member(self, answer: Answer) -> TypeGuard[NodeStatus]:
        return (
            isinstance(answer, NodeStatus)
            and answer.system_identifier == self.topology.system_identifier
            and answer.timeline == self.topology.timeline
        )

    def _with_known_timeline(self, alias: str, answer: Answer) -> Answer:
        """A replica cut off from the primary no longer shows the timeline it streamed: remember it."""
        known = self.topology.system_identifier
        if isinstance(answer, Unreachable) or known not in {None, answer.system_identifier}:
            return answer
        newest = max(self._highest_timelines[alias], answer.timeline)
        self._highest_timelines[alias] = newest
        return answer if answer.role is Role.PRIMARY else replace(answer, timeline=newest)

    def _reassess(self, known: Topology, now: float) -> Cuts:
        previous = self.topology
        leadership = find_primary(known, self._answers)
        if leadership.timeline != previous.timeline:
            self._history.clear()
            # Positions of the old timeline may never be reached on the new one.
            self._marks = dict.fromkeys(self._marks, Lsn(0))
        leader = self._answers.get(leadership.primary or "")
        if isinstance(leader, NodeStatus):
            self._history.record(leader.lsn, now)
        self.topology = assess(
            known,
            self._answers,
            leadership=leadership,
            history=self._history,
            answers_in_a_row=self._answers_in_a_row,
            marks=self._marks,
            limits=self._limits,
            now=now,
        )
        return connections_to_cut(previous, self.topology, self._misses)
