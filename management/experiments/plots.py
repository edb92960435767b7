"""Draws the plots of a report. Knows matplotlib; what a line means is its caller's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

Series = Sequence[tuple[float, float | None]]
"""Seconds since the beginning, and a value; None leaves a gap."""

WIDTH, HEIGHT = 8.0, 2.8
DPI: Final = 80
COLOURS: Final = ("#1f5fa8", "#d1601f", "#2b8a4b", "#8a4b9c", "#7a6a00", "#555555")
"""Distinct in print and for the colour-blind; nodes keep theirs through a report."""


def draw_lines(
    file: Path,
    lines: Mapping[str, Series],
    *,
    ylabel: str,
    title: str,
    marks: Mapping[str, float] | None = None,
    limit: float | None = None,
) -> Path:
    """Lines over seconds, with upright marks and a level that must not be passed."""
    figure, axes = _figure(title, "seconds", ylabel)
    for number, (name, series) in enumerate(lines.items()):
        values = [(at, math.nan if value is None else value) for at, value in series]
        axes.plot(*zip(*values, strict=True) if values else ([], []), label=name, color=_colour(number), linewidth=1.4)
    if limit is not None:
        axes.axhline(limit, color="#b00020", linestyle="--", linewidth=1.2, label="limit")
    _mark(axes, marks or {})
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    return _save(figure, file)


def draw_bars(
    file: Path, groups: Sequence[str], bars: Mapping[str, Sequence[float]], *, ylabel: str, title: str
) -> Path:
    """For each group one bar of each kind, side by side, with its value on it."""
    figure, axes = _figure(title, "", ylabel)
    width = 0.8 / max(1, len(bars))
    for number, (name, values) in enumerate(bars.items()):
        places = [index + (number - (len(bars) - 1) / 2) * width for index in range(len(groups))]
        drawn = axes.bar(places, values, width, label=name, color=_colour(number))
        axes.bar_label(drawn, fmt="%.3g", fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.15)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    return _save(figure, file)


def draw_scaling(file: Path, measured: Mapping[int, float], *, title: str) -> Path:
    """Throughput against the number of replicas, beside what perfect scaling of the first would be."""
    figure, axes = _figure(title, "replicas that serve reads (0: the primary alone)", "requests per second")
    counts = sorted(measured)
    axes.plot(counts, [measured[count] for count in counts], marker="o", color=COLOURS[0], label="measured")
    alone = measured[counts[0]]
    axes.plot(counts, [alone * max(1, count) for count in counts], "--", color=COLOURS[5], label="proportional")
    for count in counts:
        axes.annotate(
            f"{measured[count] / alone:.2f}×",
            (count, measured[count]),
            textcoords="offset points",
            xytext=(0, -13),
            fontsize=8,
        )
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    return _save(figure, file)


def draw_distribution(file: Path, values: Mapping[str, Sequence[float]], *, xlabel: str, title: str) -> Path:
    """Which share of the values is at most so large; each sequence in order."""
    figure, axes = _figure(title, xlabel, "share of requests")
    longest = 0.0
    for number, (name, ordered) in enumerate(values.items()):
        shares = [(index + 1) / len(ordered) for index in range(len(ordered))]
        axes.step(ordered, shares, where="post", label=name, color=_colour(number), linewidth=1.4)
        longest = max(longest, ordered[math.ceil(0.995 * len(ordered)) - 1] if ordered else 0.0)
    for level in (0.5, 0.95, 0.99):
        axes.axhline(level, color="#cccccc", linewidth=0.8, zorder=0)
    axes.set_xlim(0, longest or 1)
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return _save(figure, file)


def _figure(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(xlabel, fontsize=8)
    axes.set_ylabel(ylabel, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _mark(axes: Any, marks: Mapping[str, float]) -> None:
    """Upright lines with numbers; what they mean is in the legend."""
    known = [mark for mark in marks.items() if not math.isnan(mark[1])]
    for number, (name, at) in enumerate(sorted(known, key=lambda mark: mark[1]), start=1):
        axes.axvline(at, color="#333333", linewidth=0.8, linestyle=":", label=f"{number}  {name}")
        axes.annotate(str(number), (at, 1.0), xycoords=("data", "axes fraction"), fontsize=8, ha="center", va="bottom")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _save(figure: Figure, file: Path) -> Path:
    # Nothing of the machine or the moment: the same data draws the same file.
    figure.savefig(file, metadata={"Software": None})
    return file
