"""What clients see of every fault: the table in docs/reference/fault-matrix.md.

    .venv/bin/python -m benchmarks.faults [--rounds 3] [--seconds 10] [--only freeze] [--output FILE]

Each round starts a system of its own, loads it over HTTP with the history checker, does what
`tests/faults.py` says, and judges the history. The controls at the end must show violations.
Exit code 1 if a fault has any, or a control has none.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.history.run import HistoryRun, RunOptions, run_history
from management.history.verdict import Invariant
from tests import faults
from tests.system import System, running_system

SESSIONS: Final = 4
COUNTED: Final = {
    Invariant.FAILED_READS: "failed reads",
    Invariant.STALE_READS: "stale reads",
    Invariant.BACKWARDS_READS: "backwards reads",
    Invariant.ACKNOWLEDGED_WRITES_LOST: "lost writes",
    Invariant.VANISHED_VALUES: "vanished values",
    Invariant.SPLIT_BRAIN_WRITES: "split-brain writes",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    fault: faults.Fault
    condition: str = ""
    """What else differs, in words."""
    arguments: tuple[str, ...] = ()
    """Of deploy/start-all."""
    sends_tokens: bool = True
    must_show: Invariant | None = None
    """The violation that this control plants. None: it is no control, there must be none."""

    @property
    def name(self) -> str:
        """For the table."""
        words = self.fault.__name__.replace("_", " ")
        return f"{words} ({self.condition})" if self.condition else words


def nothing(_system: System) -> None:
    """No fault: what the figures are without one."""


CASES: Final = tuple(Case(fault) for fault in (nothing, *faults.FAULTS))
CONTROLS: Final = (
    Case(
        faults.hold_replay_on_one,
        "clients drop their tokens",
        sends_tokens=False,
        must_show=Invariant.STALE_READS,
    ),
    Case(
        faults.lose_acknowledged_writes,
        "no synchronous replica",
        arguments=("--sync=off",),
        must_show=Invariant.ACKNOWLEDGED_WRITES_LOST,
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What all rounds of a case showed."""

    case: Case
    runs: tuple[HistoryRun, ...]

    def count(self, invariant: Invariant) -> int:
        """Violations, over all rounds."""
        return sum(run.report.verdict.count(invariant) for run in self.runs)

    @property
    def operations(self) -> int:
        """Over all rounds."""
        return sum(run.report.verdict.operations for run in self.runs)

    @property
    def seconds_without_writes(self) -> float:
        """The longest of all rounds."""
        return max(run.report.verdict.seconds_without_writes or 0.0 for run in self.runs)

    @property
    def slowest_read_seconds(self) -> float:
        """The slowest answered read of all rounds."""
        return max(
            operation.completed_at - operation.invoked_at
            for run in self.runs
            for operation in run.history
            if operation.is_answered_read
        )

    @property
    def is_as_it_must_be(self) -> bool:
        """Whether every round was clean, or showed what it was to show; and could be judged."""
        verdicts = [run.report.verdict for run in self.runs]
        wanted = self.case.must_show
        is_right = all(verdict.is_clean if wanted is None else wanted in verdict.violations for verdict in verdicts)
        return is_right and not any(run.report.doubts for run in self.runs)


def main() -> int:
    """Run them, show each as it ends, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", default="", metavar="WORDS", help="only cases whose name holds these words")
    parser.add_argument("--output", type=Path, help="write the page there")
    options = parser.parse_args()
    rows = []
    cases = [case for case in (*CASES, *CONTROLS) if options.only in case.name]
    if not cases:
        parser.error(f"no case has {options.only!r} in its name")
    for case in cases:
        rows.append(Row(case, tuple(run(case, options.seconds) for _ in range(options.rounds))))
        _show(rows[-1])
    if options.output is not None:
        options.output.write_text("\n".join(page(rows, seconds=options.seconds)) + "\n")
    return 0 if all(row.is_as_it_must_be for row in rows) else 1


def run(case: Case, seconds: float) -> HistoryRun:
    """One round on a system of its own."""
    with running_system(*case.arguments, variables=faults.VARIABLES) as system:
        return run_history(
            system.url,
            seconds=seconds,
            sessions=SESSIONS,
            during=lambda: case.fault(system),
            options=RunOptions(sends_tokens=case.sends_tokens),
        )


def page(rows: Sequence[Row], *, seconds: float) -> Iterable[str]:
    """The lines of docs/reference/fault-matrix.md."""
    rounds = len(rows[0].runs)
    yield "# Fault matrix"
    yield ""
    yield (
        f"What clients of a running system saw of each fault: {SESSIONS} sessions over HTTP, {rounds} rounds of "
        f"{seconds:g} s, each on a system of its own with a primary and two replicas, on a machine with 2 cores "
        f"({time.strftime('%Y-%m-%d')}). Made by"
    )
    yield ""
    yield f"    .venv/bin/python -m benchmarks.faults --rounds {rounds} --output docs/reference/fault-matrix.md"
    yield ""
    yield from _table([row for row in rows if row.case.must_show is None])
    yield ""
    yield "The *slowest read* is the longest that any answered read took, *no writes* the longest time between two"
    yield "acknowledged writes; the worst of all rounds."
    yield ""
    yield "What each does (`tests/faults.py`):"
    yield ""
    for row in rows:
        if row.case.must_show is None:
            yield f"* **{row.case.name}**: {inspect.cleandoc(row.case.fault.__doc__ or '')}"
    yield ""
    yield "## Controls"
    yield ""
    yield "The same checker on systems that cannot keep the promise. It must find violations, in every round:"
    yield ""
    yield from _table([row for row in rows if row.case.must_show is not None])


def _table(rows: Sequence[Row]) -> Iterable[str]:
    yield f"| fault | operations | {' | '.join(COUNTED.values())} | slowest read, s | no writes, s |"
    yield "|---|" + "---:|" * (len(COUNTED) + 3)
    for row in rows:
        counts = " | ".join(str(row.count(invariant)) for invariant in COUNTED)
        yield (
            f"| {row.case.name} | {row.operations} | {counts} | {row.slowest_read_seconds:.2f} | "
            f"{row.seconds_without_writes:.2f} |"
        )


def _show(row: Row) -> None:
    counts = ", ".join(f"{row.count(invariant)} {name}" for invariant, name in COUNTED.items())
    print(
        f"{'as it must be' if row.is_as_it_must_be else 'WRONG':<14}{row.case.name}: {row.operations} operations, "
        f"{counts}, slowest read {row.slowest_read_seconds:.2f} s, {row.seconds_without_writes:.2f} s without writes"
    )
    for run in row.runs:
        if row.case.must_show is None and run.report.verdict.violations:
            print(f"    {run.report.verdict.violations}")
        for doubt in run.report.doubts:
            print(f"    {doubt}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
