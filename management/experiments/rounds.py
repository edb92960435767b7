"""One round of a reading load: made, measured, and put into words."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.experiments.chapter import show_figure
from management.experiments.load import Load, LoadTool, Plan
from management.experiments.options import ReadOptions
from management.experiments.people import Asked
from management.experiments.results import Sample, Summary, read_results, summarise
from management.experiments.sampling import Sampled, increase, sampling
from management.experiments.subject import Subject
from routers.conf import Profile

SAMPLE_SECONDS: Final = 1.0
SUMMARY_HEADINGS: Final = ("requests", "failed", "requests/s", "p50, ms", "p95, ms", "p99, ms")


@dataclass(frozen=True, slots=True)
class Round:
    """One load on one profile."""

    profile: Profile
    samples: tuple[Sample, ...]
    """Without the warm-up."""
    sampled: Sampled
    decisions: dict[tuple[str, str], int]
    """Of the router, by node and reason, since the web server started."""

    @property
    def summary(self) -> Summary:
        """Of its samples."""
        return summarise(self.samples)

    def queries(self, node: str) -> float:
        """Statements of the application on a node, in the whole round."""
        return increase([sample.application_queries for sample in self.sampled.of(node)])

    @property
    def server_ms(self) -> float:
        """Milliseconds of processor time that the web server took for a request."""
        taken = increase([sample.cpu_seconds for sample in self.sampled.server])
        return 1000 * taken / len(self.samples)

    @property
    def nodes_ms(self) -> float:
        """The same of all nodes together."""
        per_node = (increase([sample.cpu_seconds for sample in self.sampled.of(name)]) for name in self.sampled.names)
        return 1000 * sum(per_node) / len(self.samples)

    def processors(self, node: str) -> float:
        """How many processors a node kept busy, on average."""
        taken = self.sampled.of(node)
        return increase([sample.cpu_seconds for sample in taken]) / (taken[-1].at - taken[0].at)


def run_round(
    subject: Subject,
    options: ReadOptions,
    profile: Profile,
    asked: Asked,
    results: Path,
    *,
    under: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Round:
    """Load the web server that runs, and note what the nodes do.

    Args:
        subject: The system, whose web server runs with `profile`.
        options: How the load is made.
        profile: What the round is counted as.
        asked: Whom it asks for.
        results: Its result file; other files are put beside it.
        under: What the nodes are put under once the warm-up is over.
    """
    lasts_seconds = options.seconds + options.warm_up_seconds
    properties = asked.properties | {
        "threads": str(options.threads),
        "rampUp": "1",
        "duration": f"{lasts_seconds:.0f}",
        **{f"mix.{kind}": str(percent) for kind, percent in options.mix.items()},
    }
    load = Load(options.generator, Plan.READ, properties, results)
    try:
        load.await_begin()
        load.run_on(options.warm_up_seconds)
        with under(), sampling(subject.watched(), SAMPLE_SECONDS) as sampler:
            counted_from = time.time()
            load.wait(lasts_seconds)
    finally:
        load.stop()
    sampler.sampled().write(results.with_suffix(".nodes.csv"))
    samples = [sample for sample in read_results(results) if sample.started_at >= counted_from]
    return Round(profile, tuple(samples), sampler.sampled(), subject.decisions())


def show_summary(summary: Summary) -> tuple[str, ...]:
    """For the cells under SUMMARY_HEADINGS."""
    times = (summary.p50_seconds, summary.p95_seconds, summary.p99_seconds)
    return (
        str(summary.requests),
        str(summary.failed),
        show_figure(summary.per_second),
        *(f"{seconds * 1000:.0f}" for seconds in times),
    )


def describe_load(options: ReadOptions) -> str:
    """In words."""
    tool = "JMeter" if options.generator.tool is LoadTool.JMETER else "the built-in driver"
    return (
        f"{options.rounds} rounds of {options.seconds:g} s of each kind, each after {options.warm_up_seconds:g} s "
        f"of warm-up; requests without pauses ({tool}), {describe_mix(options.mix)}"
    )


def describe_mix(mix: dict[str, int]) -> str:
    """In words.

    >>> describe_mix({"login": 5, "profile": 95})
    '5 % login, 95 % profile'
    """
    return ", ".join(f"{percent} % {kind}" for kind, percent in mix.items())
