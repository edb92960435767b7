"""What a judgement is made against, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final

EXAMPLES_MAX: Final = 5


class Invariant(StrEnum):
    """What must hold, named by its violation."""

    ACKNOWLEDGED_WRITES_LOST = "acknowledged_writes_lost"
    STALE_READS = "stale_reads"
    BACKWARDS_READS = "backwards_reads"
    VANISHED_VALUES = "vanished_values"
    SPLIT_BRAIN_WRITES = "split_brain_writes"
    FAILED_READS = "failed_reads"
    LONG_GAPS_WITHOUT_WRITES = "long_gaps_without_writes"


@dataclass(frozen=True, slots=True)
class FinalState:
    """What the system holds after the load."""

    versions: Mapping[str, int]
    """By user id, for every acknowledged registration; ABSENT if there is no such user."""
    refused_logins: tuple[str, ...] = ()
    """Users out of the sample who could not log in."""
    unread: tuple[str, ...] = ()
    """Users whose profile could not be read: nothing is said of them."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of what is otherwise only measured."""

    max_seconds_without_writes: float | None = None
    """None: any time is fine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The violations of one invariant."""

    count: int = 0
    examples: tuple[str, ...] = ()


def finding(violations: Iterable[str]) -> Finding:
    """Count them all and keep the first few.

    >>> finding(["a", "b"])
    Finding(count=2, examples=('a', 'b'))
    """
    found = iter(violations)
    examples = tuple(islice(found, EXAMPLES_MAX))
    return Finding(len(examples) + sum(1 for _ in found), examples)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one history."""

    operations: int
    by_kind: Mapping[str, Mapping[str, int]]
    """Operations by kind and outcome."""
    findings: Mapping[Invariant, Finding]
    """One for every invariant."""
    flagged_reads: int = 0
    """Reads of which the server itself said that they may be stale: not among the stale or backwards ones."""
    refused_writes: int = 0
    """Definitely not made."""
    unknown_writes: int = 0
    seconds_without_writes: float | None = None
    """The longest time between two acknowledgements; None without any write."""
    seconds_per_operation: Mapping[str, float] = field(default_factory=dict)
    """The median by kind."""

    def count(self, invariant: Invariant) -> int:
        """How often it was violated."""
        return self.findings[invariant].count

    @property
    def violations(self) -> Mapping[Invariant, Finding]:
        """The findings of the invariants that did not hold."""
        return {invariant: found for invariant, found in self.findings.items() if found.count}

    @property
    def is_clean(self) -> bool:
        """Whether every invariant held."""
        return not self.violations
