"""Reads on the primary alone against reads on replicas: the same load, in turns, in one run."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from management.experiments.chapter import Chapter, Finding, Plot, Table
from management.experiments.options import ReadOptions
from management.experiments.people import asked_for
from management.experiments.plots import draw_bars, draw_distribution, draw_lines
from management.experiments.results import per_second, summarise
from management.experiments.rounds import (
    SUMMARY_HEADINGS,
    Round,
    describe_load,
    run_round,
    show_summary,
)
from management.experiments.sampling import increase, rates
from management.experiments.subject import Subject
from routers.conf import Profile

PROFILES: Final = (Profile.MASTER_ONLY, Profile.REPLICATION)
RATE_SECONDS: Final = 2.0
"""PostgreSQL's sessions report their statistics once a second."""
SHOWN: Final = {Profile.MASTER_ONLY: "primary only", Profile.REPLICATION: "replication"}


def run_read(subject: Subject, options: ReadOptions, folder: Path) -> Chapter:
    """Make the rounds and compare."""
    primary = subject.primary()
    rounds: list[Round] = []
    subject.settle()
    with asked_for(subject, folder) as asked:
        for number in range(options.rounds):
            # Turned round each time: whatever favours the second one favours both alike.
            for profile in PROFILES if number % 2 == 0 else PROFILES[::-1]:
                subject.serve(profile)
                results = folder / f"read-{profile}-{number + 1}.jtl"
                rounds.append(run_round(subject, options, profile, asked, results))
                _tell(subject, rounds[-1], f"round {number + 1} of {options.rounds}")
    setting = (
        f"Both profiles in turns, {options.threads} clients. {describe_load(options)}, over {asked.people} people."
    )
    return compare(rounds, primary, setting, folder)


def _tell(subject: Subject, done: Round, which: str) -> None:
    summary = done.summary
    subject.say(
        f"read, {SHOWN[done.profile]}, {which}: {summary.per_second:.0f} requests/s, "
        f"p95 {summary.p95_seconds * 1000:.0f} ms, {summary.failed} failed"
    )


def compare(rounds: Sequence[Round], primary: str, setting: str, folder: Path) -> Chapter:
    """The chapter on rounds of both profiles."""
    of = {profile: [each for each in rounds if each.profile is profile] for profile in PROFILES}
    alone, replicated = of[Profile.MASTER_ONLY], of[Profile.REPLICATION]
    names = rounds[0].sampled.names
    throughput = _ratio(alone, replicated, _per_second)
    slower = _ratio(alone, replicated, lambda each: each.summary.p95_seconds)
    on_primary = sum(each.queries(primary) for each in replicated)
    findings = (
        Finding(f"application queries on {primary} in the replication profile", on_primary, "", 0, 0),
        Finding("throughput, replication to primary only", throughput, "", at_least=0.97),
        Finding("p95, replication to primary only", slower, "", at_most=1.05),
        Finding("failed requests", sum(each.summary.failed for each in rounds), "", 0, 0),
        Finding(
            "processor time of the web server per request, replication to primary only",
            _ratio(alone, replicated, lambda each: each.server_ms),
            "",
        ),
    )
    pooled = {
        SHOWN[profile]: sorted(s.elapsed_seconds * 1000 for each in of[profile] for s in each.samples)
        for profile in PROFILES
    }
    plots = (
        Plot(
            draw_bars(
                folder / "read-processors.png",
                names,
                {SHOWN[profile]: [_processors(of[profile], name) for name in names] for profile in PROFILES},
                ylabel="processors busy",
                title="Load of each node",
            ),
            "How many processors each node kept busy, in both profiles.",
        ),
        Plot(_draw_transactions(folder, of), "Transactions of the application per second on each node, both profiles."),
        Plot(_draw_throughput(folder, of), "Successful requests in each second, both profiles, all rounds."),
        Plot(
            draw_distribution(
                folder / "read-latency.png", pooled, xlabel="milliseconds at most", title="Time of an answer"
            ),
            "Which share of the requests was answered in how many milliseconds, both profiles.",
        ),
    )
    return Chapter(
        name="read",
        title="Reads on the primary alone, and on replicas",
        question="Does the primary get rid of the reads, and does it cost the users anything?",
        setting=setting,
        seen=(
            f"With replicas the primary {primary} served {on_primary:.0f} queries of the application; alone it served "
            f"{sum(each.queries(primary) for each in alone):.0f}.",
            f"Throughput was {_median(alone, _per_second):.0f} requests/s on the primary alone and "
            f"{_median(replicated, _per_second):.0f} with replicas; by pairs of rounds the second is {throughput:.3f} "
            f"times the first, its p95 {slower:.3f} times.",
        ),
        findings=findings,
        tables=(_by_profile(of), _by_label(of), _by_node(of, names), _by_reason(replicated)),
        plots=plots,
    )


def _ratio(alone: Sequence[Round], replicated: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """The median of the ratios of neighbours in time."""
    return statistics.median(figure(two) / figure(one) for one, two in zip(alone, replicated, strict=True))


def _median(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(figure(each) for each in rounds)


def _per_second(each: Round) -> float:
    return each.summary.per_second


def _processors(rounds: Sequence[Round], node: str) -> float:
    return _median(rounds, lambda each: each.processors(node))


def _by_profile(of: dict[Profile, list[Round]]) -> Table:
    rows = []
    for profile, rounds in of.items():
        for number, each in enumerate(rounds, start=1):
            taken = (f"{each.server_ms:.2f}", f"{each.nodes_ms:.2f}")
            rows.append((SHOWN[profile], str(number), *show_summary(each.summary), *taken))
    headings = ("profile", "round", *SUMMARY_HEADINGS, "web server, ms a request", "nodes, ms a request")
    return Table("Each round, with the processor time it took", headings, tuple(rows))


def _by_label(of: dict[Profile, list[Round]]) -> Table:
    rows = []
    for label in sorted({sample.label for rounds in of.values() for each in rounds for sample in each.samples}):
        for profile, rounds in of.items():
            samples = [sample for each in rounds for sample in each.samples if sample.label == label]
            requests, failed, _, *times = show_summary(summarise(samples))
            rows.append((label, SHOWN[profile], requests, failed, *times))
    headings = ("request", "profile", "requests", "failed", "p50, ms", "p95, ms", "p99, ms")
    return Table("Each kind of request, all rounds", headings, tuple(rows))


def _by_node(of: dict[Profile, list[Round]], names: Sequence[str]) -> Table:
    rows = []
    for name in names:
        for profile, rounds in of.items():
            queries = sum(each.queries(name) for each in rounds)
            tuples = sum(increase([sample.tuples_read for sample in each.sampled.of(name)]) for each in rounds)
            busy = _processors(rounds, name)
            rows.append((name, SHOWN[profile], f"{queries:.0f}", f"{tuples:.0f}", f"{busy:.2f}"))
    headings = ("node", "profile", "application queries", "tuples read", "processors busy")
    return Table("Each node, all rounds", headings, tuple(rows))


def _by_reason(rounds: Sequence[Round]) -> Table:
    counts: Counter[tuple[str, str]] = Counter()
    for each in rounds:
        counts.update(each.decisions)
    rows = [(node, reason, str(count)) for (node, reason), count in sorted(counts.items())]
    return Table("Where reads went and why, replication, warm-up included", ("node", "reason", "queries"), tuple(rows))


def _draw_transactions(folder: Path, of: dict[Profile, list[Round]]) -> Path:
    """The last rounds of both profiles, one after the other on the same axis."""
    lines = {}
    for profile, rounds in of.items():
        sampled = rounds[-1].sampled
        for node in sampled.names:
            taken = sampled.of(node)
            series = [(sample.at - taken[0].at, sample.transactions) for sample in taken]
            lines[f"{node}, {SHOWN[profile]}"] = rates(series, over_seconds=RATE_SECONDS)
    return draw_lines(
        folder / "read-transactions.png", lines, ylabel="transactions/s", title="Transactions of the application"
    )


def _draw_throughput(folder: Path, of: dict[Profile, list[Round]]) -> Path:
    lines: dict[str, list[tuple[float, float | None]]] = {}
    for profile, rounds in of.items():
        series: list[tuple[float, float | None]] = []
        for each in rounds:
            began_at, offset = each.samples[0].started_at, len(series)
            # The last second is a part of one.
            whole = per_second((s.completed_at for s in each.samples if s.is_success), began_at)[:-1]
            series += [(offset + second, count) for second, count in whole]
        lines[SHOWN[profile]] = series
    return draw_lines(
        folder / "read-throughput.png", lines, ylabel="requests/s", title="Throughput, rounds one after the other"
    )
