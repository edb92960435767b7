"""Throughput against the number of replicas, with each node's CPU limited so that the database is the bottleneck."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from management.errors import Refused
from management.experiments.chapter import Chapter, Finding, Plot, Table, show_figure
from management.experiments.cpu_limit import cpu_limited
from management.experiments.options import ReadOptions
from management.experiments.people import asked_for
from management.experiments.plots import draw_scaling
from management.experiments.rounds import (
    SUMMARY_HEADINGS,
    Round,
    describe_load,
    run_round,
    show_summary,
)
from management.experiments.subject import Subject
from routers.conf import Profile

AT_LEAST: Final = {2: 1.8, 3: 2.6}
"""How many times the throughput of the primary alone so many replicas must reach."""
CLIENTS_PER_NODE: Final = 8
"""Enough that a node always has a query to work on, and the same for each number of replicas: the more sessions share a
small part of a processor, the less they get done, so that a crowd on the primary alone would flatter the replicas."""
WARM_UP_SECONDS: Final = 8.0
"""In which every process has opened its connections: under the limit one costs more than many queries."""
_PATIENT: Final = {
    # So many probers must not use up what little a node is given, nor take one that is slow on purpose for dead.
    "HIGHLOAD_PROBE_INTERVAL_SECONDS": "10",
    "HIGHLOAD_PROBE_TIMEOUT_SECONDS": "10",
    "HIGHLOAD_MAX_LAG_SECONDS": "60",
}


def run_scaling(subject: Subject, options: ReadOptions, folder: Path, *, percent: float) -> Chapter:
    """Load the primary alone, then one replica, two, and so on: all that are there.

    Raises:
        Refused: The machine does not allow limits, or there is no replica.
    """
    primary = subject.primary()
    replicas = [node.name for node in subject.record.nodes if node.name != primary and not node.fenced]
    if not replicas:
        raise Refused("There is no replica, so there is nothing to compare. Add some with --replicas.")
    options = replace(options, warm_up_seconds=WARM_UP_SECONDS)
    workers = CLIENTS_PER_NODE * len(replicas)
    variables = {**_PATIENT, "HIGHLOAD_WEB_WORKERS": str(workers)}
    rounds: dict[int, list[Round]] = {count: [] for count in range(len(replicas) + 1)}
    nodes = [subject.local(node.name) for node in subject.record.nodes]
    limit = partial(cpu_limited, nodes, percent)
    subject.settle()
    with asked_for(subject, folder) as asked:
        for number in range(options.rounds):
            for count in rounds if number % 2 == 0 else reversed(rounds):
                profile = Profile.REPLICATION if count else Profile.MASTER_ONLY
                subject.serve(profile, nodes=[primary, *replicas[:count]], variables=variables)
                clients = CLIENTS_PER_NODE * max(1, count)
                crowded = replace(options, threads=clients)
                results = folder / f"scaling-{count}-replicas-{number + 1}.jtl"
                rounds[count].append(run_round(subject, crowded, profile, asked, results, under=limit))
                subject.say(
                    f"scaling, {count} replicas, round {number + 1} of {options.rounds}: "
                    f"{rounds[count][-1].summary.per_second:.0f} requests/s"
                )
    setting = (
        f"Each node gets {percent:g} % of one processor (a control group), so that the database is the bottleneck. "
        f"{CLIENTS_PER_NODE} clients for each node that serves; {workers} web server processes. With replicas the "
        f"primary serves no reads. {describe_load(options)}, over {asked.people} people."
    )
    return describe_scaling(rounds, primary, percent, setting, folder)


def describe_scaling(
    rounds: Mapping[int, Sequence[Round]], primary: str, percent: float, setting: str, folder: Path
) -> Chapter:
    """The chapter on rounds with each number of replicas; 0 is the primary alone."""
    measured = {
        count: statistics.median(each.summary.per_second for each in of_count) for count, of_count in rounds.items()
    }
    factors = {count: measured[count] / measured[0] for count in measured if count}
    findings = [
        Finding(
            f"throughput with {count} replica{'s' if count > 1 else ''} to the primary alone",
            factor,
            "times",
            at_least=AT_LEAST.get(count),
        )
        for count, factor in factors.items()
    ]
    findings.append(
        Finding(
            "failed requests",
            sum(each.summary.failed for of_count in rounds.values() for each in of_count),
            "",
            at_least=0,
            at_most=0,
        )
    )
    most = max(measured)
    return Chapter(
        name="scaling",
        title="Throughput against the number of replicas",
        question="When the database is the bottleneck, how much more do replicas serve?",
        setting=setting,
        seen=(
            f"The primary alone served {measured[0]:.0f} requests/s, {most} replicas {measured[most]:.0f}: "
            f"{factors[most]:.2f} times as many.",
            f"Each node was limited to {percent:g} % of a processor; what it used of that is in the last column.",
        ),
        findings=tuple(findings),
        tables=(_table(rounds, primary),),
        plots=(
            Plot(
                draw_scaling(folder / "scaling.png", measured, title="Throughput against the number of replicas"),
                "Requests per second with the primary alone and with each number of replicas, medians of the rounds.",
            ),
        ),
    )


def _table(rounds: Mapping[int, Sequence[Round]], primary: str) -> Table:
    rows = []
    for count, of_count in rounds.items():
        for number, each in enumerate(of_count, start=1):
            serving = [name for name in each.sampled.names if name != primary][:count] or [primary]
            busy = " ".join(f"{name} {100 * each.processors(name):.0f} %" for name in serving)
            on_primary = show_figure(each.queries(primary))
            rows.append((str(count), str(number), *show_summary(each.summary), on_primary, busy))
    headings = ("replicas", "round", *SUMMARY_HEADINGS, f"queries on {primary}", "processor of those who serve")
    return Table("Each round", headings, tuple(rows))
