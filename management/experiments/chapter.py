"""What an experiment found, as the report shows it: findings against limits, tables, plots, and words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure that was asked for."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    """Both None: it is reported, not judged."""

    @property
    def is_met(self) -> bool:
        """Whether it is within its limits. NaN is within none."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def limit(self) -> str:
        """In words; empty without one."""
        if self.at_least is None and self.at_most is None:
            return ""
        if self.at_least == self.at_most:
            return f"exactly {show_figure(self.at_least or 0.0)}"
        return f"at least {show_figure(self.at_least)}" if self.at_least is not None else f"at most {self.at_most:g}"

    @property
    def shown(self) -> str:
        """Value and unit."""
        return f"{show_figure(self.value)} {self.unit}".rstrip()

    @property
    def verdict(self) -> str:
        """In a word; empty without a limit."""
        return ("met" if self.is_met else "not met") if self.limit else ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings, ready to be shown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture and what it shows in words, for those who do not see it."""

    file: Path
    caption: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """One experiment of a report."""

    name: str
    title: str
    question: str
    setting: str
    """How it was made: what a reader needs to make it again."""
    seen: tuple[str, ...]
    """What was seen, in sentences."""
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...]

    @property
    def is_met(self) -> bool:
        """Whether every figure is within its limits."""
        return all(finding.is_met for finding in self.findings)


def show_figure(value: float) -> str:
    """A figure with as many digits as are worth reading.

    >>> [show_figure(value) for value in (0, 1.0467, 34.56, 1234.5)]
    ['0', '1.047', '34.6', '1234']
    """
    if float(value).is_integer():
        return f"{value:.0f}"
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0  # noqa: PLR2004 - magnitudes
    return f"{value:.{digits}f}"
