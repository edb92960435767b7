"""Negative controls: doctors a copy of the recorded history, and requires that the judge notices. Pure.

A judge that finds nothing in a doctored history proves nothing by finding nothing in the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, TypeVar

from management.history.judge import judge
from management.history.operations import Operation, Outcome
from management.history.verdict import Bounds, FinalState, Invariant, Verdict

History = Sequence[Operation]
Item = TypeVar("Item")
Doctored = tuple[History, FinalState]


class Control(StrEnum):
    """What became of one control."""

    CAUGHT = "caught"
    MISSED = "missed"
    IMPOSSIBLE = "impossible"
    """The history has nothing that could be doctored so."""


def run_controls(history: History, final: FinalState, bounds: Bounds, verdict: Verdict) -> Mapping[Invariant, Control]:
    """Plant one violation of each invariant, and see whether the judge counts more of that very one than before.

    `verdict` is the judgement of the history as it was recorded.
    """
    ordered = sorted(history, key=lambda operation: operation.invoked_at)
    found: dict[Invariant, Control] = {}
    for invariant, doctor in DOCTORS.items():
        doctored = doctor(ordered, final, bounds)
        if doctored is None:
            found[invariant] = Control.IMPOSSIBLE
            continue
        is_caught = judge(*doctored, bounds).count(invariant) > verdict.count(invariant)
        found[invariant] = Control.CAUGHT if is_caught else Control.MISSED
    return found


def lose_a_write(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Take somebody's newest version out of the final state."""
    for operation in history:
        if operation.is_acknowledged_write and final.versions.get(operation.key) == operation.version:
            return history, _behind(final, operation)
    return None


def make_a_read_stale(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Let a session read one version less than it wrote."""
    return _lower_a_read(history, final, lambda operation: operation.is_acknowledged_write)


def make_a_read_go_backwards(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Let a session read one version less than it saw."""
    return _lower_a_read(history, final, lambda operation: operation.is_answered_read)


def make_a_value_vanish(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Let the final state be behind what somebody saw."""
    shown = [
        operation
        for operation in history
        if operation.is_answered_read and 0 <= _version(operation) <= final.versions.get(operation.key, -1)
    ]
    return (history, _behind(final, _middle(shown))) if shown else None


def interleave_timelines(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Let the first acknowledgement be of a timeline newer than all the others."""
    places = [
        place
        for place, operation in enumerate(history)
        if operation.is_acknowledged_write and operation.timeline is not None
    ]
    if not places or history[places[-1]].invoked_at <= history[places[0]].completed_at:
        return None
    newest = max(history[place].timeline or 0 for place in places)
    return _changed(history, places[0], timeline=newest + 1), final


def refuse_a_read(history: History, final: FinalState, _bounds: Bounds) -> Doctored | None:
    """Let a read be answered 503."""
    places = [place for place, operation in enumerate(history) if operation.is_answered_read]
    if not places:
        return None
    return _changed(history, _middle(places), outcome=Outcome.FAIL, status=503, version=None), final


def pause_the_writes(history: History, final: FinalState, bounds: Bounds) -> Doctored | None:
    """Let all that follows an acknowledgement happen later, by more than the bound."""
    limit = bounds.max_seconds_without_writes
    acknowledged = sorted(operation.completed_at for operation in history if operation.is_acknowledged_write)
    # A gap that is too long already would only grow, and count no more than before.
    starts = [end for start, end in pairwise(acknowledged) if limit is not None and start < end <= start + limit]
    return ([_later(operation, _middle(starts), (limit or 0) + 1) for operation in history], final) if starts else None


DOCTORS: Final[Mapping[Invariant, Callable[[History, FinalState, Bounds], Doctored | None]]] = {
    Invariant.ACKNOWLEDGED_WRITES_LOST: lose_a_write,
    Invariant.STALE_READS: make_a_read_stale,
    Invariant.BACKWARDS_READS: make_a_read_go_backwards,
    Invariant.VANISHED_VALUES: make_a_value_vanish,
    Invariant.SPLIT_BRAIN_WRITES: interleave_timelines,
    Invariant.FAILED_READS: refuse_a_read,
    Invariant.LONG_GAPS_WITHOUT_WRITES: pause_the_writes,
}


def _lower_a_read(history: History, final: FinalState, teaches: Callable[[Operation], bool]) -> Doctored | None:
    """Lower a read below what its session had learnt, by operations that teach, and that the read still showed."""
    learnt: dict[tuple[int, str], int] = {}
    found: list[tuple[int, int]] = []
    for place, operation in enumerate(history):
        known = learnt.get((operation.session, operation.key), -1)
        if operation.is_answered_read and not operation.is_flagged and 0 <= known <= _version(operation):
            found.append((place, known))
        if teaches(operation):
            learnt[operation.session, operation.key] = max(known, _version(operation))
    if not found:
        return None
    place, known = _middle(found)
    return _changed(history, place, version=known - 1), final


def _changed(history: History, place: int, **fields: Any) -> History:
    return [*history[:place], replace(history[place], **fields), *history[place + 1 :]]


def _behind(final: FinalState, operation: Operation) -> FinalState:
    return replace(final, versions={**final.versions, operation.key: _version(operation) - 1})


def _later(operation: Operation, start: float, seconds: float) -> Operation:
    if operation.completed_at < start:
        return operation
    return replace(operation, invoked_at=operation.invoked_at + seconds, completed_at=operation.completed_at + seconds)


def _version(operation: Operation) -> int:
    """Below every version where the answer tells none."""
    return -1 if operation.version is None else operation.version


def _middle(items: Sequence[Item]) -> Item:
    return items[len(items) // 2]
