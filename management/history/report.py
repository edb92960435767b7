"""Concludes from a history: the verdict, the controls, and whether they are worth anything. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from management.exit_codes import ExitCode
from management.history.controls import Control, run_controls
from management.history.judge import UNBOUNDED, judge
from management.history.operations import Operation
from management.history.verdict import Bounds, FinalState, Invariant, Verdict

OPERATIONS_MIN: Final = 100
"""Of fewer nothing can be concluded."""
OPTIONAL_CONTROLS: Final = frozenset({Invariant.SPLIT_BRAIN_WRITES, Invariant.LONG_GAPS_WITHOUT_WRITES})
"""Without tokens there are no timelines, and without a bound no gap is too long: nothing to doctor."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found, without the history."""

    seconds: float
    """How long the load lasted."""
    verdict: Verdict
    controls: Mapping[Invariant, Control]
    doubts: tuple[str, ...]
    """Why the verdict is worth nothing; empty if it is worth something."""
    is_interrupted: bool

    def exit_code(self, *, expects_violations: bool = False) -> ExitCode:
        """1 for violations (or for none, where they are expected), 4 where nothing can be concluded."""
        if self.doubts:
            return ExitCode.UNKNOWN
        return ExitCode.DONE if self.verdict.is_clean is not expects_violations else ExitCode.REFUSED


def conclude(
    history: Sequence[Operation],
    final: FinalState | None,
    bounds: Bounds = UNBOUNDED,
    *,
    seconds: float,
    is_interrupted: bool = False,
) -> Report:
    """Judge, and judge the judge. `final` is None if the system accepted no write after the load."""
    known = final or FinalState({})
    verdict = judge(history, known, bounds)
    controls = run_controls(history, known, bounds, verdict)
    return Report(seconds, verdict, controls, tuple(_doubts(len(history), final, controls)), is_interrupted)


def _doubts(operations: int, final: FinalState | None, controls: Mapping[Invariant, Control]) -> Iterator[str]:
    if operations < OPERATIONS_MIN:
        yield f"{operations} operations are too few, {OPERATIONS_MIN} are needed"
    if final is None:
        yield "the system accepted no write after the load, so what it holds is not known"
    elif final.unread:
        yield f"{len(final.unread)} users could not be read after the load"
    for invariant, control in controls.items():
        if control is Control.MISSED:
            yield f"a planted violation of {invariant} was not noticed: the judge is broken"
        if control is Control.IMPOSSIBLE and final is not None and invariant not in OPTIONAL_CONTROLS:
            yield f"there is nothing to plant a violation of {invariant} in: the history is too short"
