"""Judges a history against the final state. Pure: no clock, no network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from management.history import invariants
from management.history.operations import Operation, Outcome
from management.history.verdict import Bounds, FinalState, Invariant, Verdict, finding

UNBOUNDED: Final = Bounds()


def judge(history: Sequence[Operation], final: FinalState, bounds: Bounds = UNBOUNDED) -> Verdict:
    """What holds and what does not.

    The history may be in any order. Its sessions had one operation at a time, its times are of one clock.
    """
    ordered = from_zero(history)
    writes = Counter(operation.outcome for operation in ordered if operation.is_write)
    return Verdict(
        operations=len(ordered),
        by_kind=_by_kind(ordered),
        findings={
            Invariant.ACKNOWLEDGED_WRITES_LOST: finding(invariants.acknowledged_writes_lost(ordered, final)),
            Invariant.STALE_READS: finding(invariants.stale_reads(ordered)),
            Invariant.BACKWARDS_READS: finding(invariants.backwards_reads(ordered)),
            Invariant.VANISHED_VALUES: finding(invariants.vanished_values(ordered, final)),
            Invariant.SPLIT_BRAIN_WRITES: finding(invariants.split_brain_writes(ordered)),
            Invariant.FAILED_READS: finding(invariants.failed_reads(ordered)),
            Invariant.LONG_GAPS_WITHOUT_WRITES: finding(invariants.long_gaps_without_writes(ordered, bounds)),
        },
        flagged_reads=sum(operation.is_answered_read and operation.is_flagged for operation in ordered),
        refused_writes=writes[Outcome.FAIL],
        unknown_writes=writes[Outcome.UNKNOWN],
        seconds_without_writes=max(
            (end - start for start, end in invariants.gaps_without_writes(ordered)), default=None
        ),
        seconds_per_operation=_median_seconds(ordered),
    )


def from_zero(history: Sequence[Operation]) -> list[Operation]:
    """In the order of their beginning, with the first at 0: times that can be read in an example."""
    start = min((operation.invoked_at for operation in history), default=0.0)
    shifted = [
        replace(operation, invoked_at=operation.invoked_at - start, completed_at=operation.completed_at - start)
        for operation in history
    ]
    return sorted(shifted, key=lambda operation: operation.invoked_at)


def _by_kind(history: Sequence[Operation]) -> Mapping[str, Mapping[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for operation in history:
        counts[operation.kind.value][operation.outcome.value] += 1
    return {kind: dict(outcomes) for kind, outcomes in sorted(counts.items())}


def _median_seconds(history: Sequence[Operation]) -> Mapping[str, float]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for operation in history:
        seconds[operation.kind.value].append(operation.completed_at - operation.invoked_at)
    return {kind: median(values) for kind, values in sorted(seconds.items())}
