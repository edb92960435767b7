"""How far the replicas fall behind while people arrive in bulk, and how soon they have caught up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from management.experiments.chapter import Chapter, Finding, Plot, Table
from management.experiments.plots import draw_lines
from management.experiments.sampling import Sampled, lags, sampling
from management.experiments.subject import Subject
from management.output import show_bytes

SAMPLE_SECONDS: Final = 0.1
CAUGHT_UP_BYTES: Final = 64 * 1024
"""A replica that is no further behind than this has caught up; an idle primary still writes a little."""
AFTER_SECONDS: Final = 3.0
"""For which the lag is watched on after the seeding."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seeding:
    """One seeding, and what was seen of it."""

    name: str
    limit_bytes: int | None
    """Which `--max-lag-bytes` it was given. None: none."""
    summary: Mapping[str, Any]
    """What `seed_users` said."""
    lags: Mapping[str, Sequence[tuple[float, int | None]]]
    """Of each replica: seconds since the beginning, and bytes."""
    loaded_at: float
    """Seconds from the beginning to the end of the load, before it waited for replicas."""

    def highest(self, replica: str) -> int:
        """The highest lag that was seen."""
        return max((lag for _, lag in self.lags[replica] if lag is not None), default=0)

    def seconds_to_catch_up(self, replica: str) -> float:
        """From the end of the load until it had all; NaN if that was not seen."""
        series = [(at, lag) for at, lag in self.lags[replica] if at >= self.loaded_at]
        behind = [index for index, (_, lag) in enumerate(series) if lag is None or lag > CAUGHT_UP_BYTES]
        after = behind[-1] + 1 if behind else 0
        return max(0.0, series[after][0] - self.loaded_at) if after < len(series) else math.nan


def run_lag(subject: Subject, folder: Path, *, count: int, max_lag_bytes: int | None) -> Chapter:
    """Seed people, once as fast as it goes and once with the limit, and watch the replicas."""
    seedings = [_seed(subject, folder, count=count, limit_bytes=None, name="without a limit")]
    if max_lag_bytes is not None:
        seedings.append(
            _seed(subject, folder, count=count, limit_bytes=max_lag_bytes, name=f"limit {show_bytes(max_lag_bytes)}")
        )
    for seeding in seedings:
        highest = ", ".join(f"{name} {show_bytes(seeding.highest(name))}" for name in seeding.lags)
        subject.say(f"lag, {seeding.name}: {seeding.summary['seconds']:.1f} s, highest {highest}")
    return describe_lag(seedings, folder)


def _seed(subject: Subject, folder: Path, *, count: int, limit_bytes: int | None, name: str) -> Seeding:
    limit = [] if limit_bytes is None else [f"--max-lag-bytes={limit_bytes}"]
    with sampling(subject.watched(), SAMPLE_SECONDS) as sampler:
        summary = subject.seed(count, *limit)
        ended_after = len(sampler.sampled().nodes)
        sampler.watch_on(AFTER_SECONDS)
    sampled = sampler.sampled()
    sampled.write(folder / f"lag-{'limited' if limit else 'unlimited'}.nodes.csv")
    return measure(name, limit_bytes, summary, sampled, ended_after)


def measure(
    name: str, limit_bytes: int | None, summary: Mapping[str, Any], sampled: Sampled, ended_after: int
) -> Seeding:
    """A seeding from its samples; `ended_after` of them were taken when the command ended."""
    began_at = sampled.nodes[0].at
    command_ended_at = sampled.nodes[ended_after - 1].at - began_at
    return Seeding(
        name=name,
        limit_bytes=limit_bytes,
        summary=summary,
        lags={node: [(at - began_at, lag) for at, lag in series] for node, series in lags(sampled).items()},
        loaded_at=command_ended_at - float(summary["seconds_catching_up"]),
    )


def describe_lag(seedings: Sequence[Seeding], folder: Path) -> Chapter:
    """The chapter on one seeding or two."""
    findings = []
    for seeding in seedings:
        for replica in seeding.lags:
            highest = seeding.highest(replica) / _MIB
            limit = None if seeding.limit_bytes is None else seeding.limit_bytes / _MIB
            findings.append(Finding(f"highest lag of {replica}, {seeding.name}", highest, "MiB", at_most=limit))
    for seeding in seedings:
        findings += [
            Finding(f"{replica} caught up after, {seeding.name}", seeding.seconds_to_catch_up(replica), "s")
            for replica in seeding.lags
        ]
    rows = tuple(
        (
            seeding.name,
            f"{seeding.summary['users']}",
            f"{seeding.summary['seconds']:.1f}",
            replica,
            show_bytes(seeding.highest(replica)),
            f"{seeding.seconds_to_catch_up(replica):.2f}",
        )
        for seeding in seedings
        for replica in seeding.lags
    )
    headings = ("seeding", "people", "seconds", "replica", "highest lag", "caught up after, s")
    plots = tuple(
        Plot(_draw(seeding, folder / f"lag-{number}.png"), f"Lag of each replica over time, {seeding.name}.")
        for number, seeding in enumerate(seedings, start=1)
    )
    return Chapter(
        name="lag",
        title="Lag while people arrive in bulk",
        question="How far do the replicas fall behind, and does a limit hold?",
        setting=(
            f"{seedings[0].summary['users']} people through `seed_users`, in one transaction. The lag is "
            "what the primary has made durable and the replica does not show yet, looked at every "
            f"{SAMPLE_SECONDS:g} s. Caught up: no more than {show_bytes(CAUGHT_UP_BYTES)} behind."
        ),
        seen=tuple(_words(seeding) for seeding in seedings),
        findings=tuple(findings),
        tables=(Table("Each seeding", headings, rows),),
        plots=plots,
    )


def _words(seeding: Seeding) -> str:
    worst = max(seeding.lags, key=seeding.highest)
    caught_up = max(map(seeding.seconds_to_catch_up, seeding.lags))
    return (
        f"{seeding.name[0].upper()}{seeding.name[1:]}: {seeding.summary['seconds']:.1f} s, at most "
        f"{show_bytes(seeding.highest(worst))} behind ({worst}); "
        f"the last replica had caught up {caught_up:.2f} s after the load."
    )


def _draw(seeding: Seeding, file: Path) -> Path:
    return draw_lines(
        file,
        {
            name: [(at, None if lag is None else lag / _MIB) for at, lag in series]
            for name, series in seeding.lags.items()
        },
        ylabel="MiB behind",
        title=f"Lag, {seeding.name}",
        marks={"load ended": seeding.loaded_at},
        limit=None if seeding.limit_bytes is None else seeding.limit_bytes / _MIB,
    )
