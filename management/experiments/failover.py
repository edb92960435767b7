"""Registrations and reads while the primary is killed, a replica promoted, and the old primary rejoins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.credentials import operator_credentials
from management.errors import Incomplete, OperationError
from management.experiments.chapter import Chapter, Finding, Plot, Table, show_figure
from management.experiments.load import Load, LoadTool, Plan
from management.experiments.options import FailoverOptions
from management.experiments.people import asked_for
from management.experiments.plots import draw_lines
from management.experiments.results import Sample, per_second, read_results, summarise
from management.experiments.rounds import SUMMARY_HEADINGS, show_summary
from management.experiments.sampling import Sampled, lags, rates, sampling
from management.experiments.subject import Subject
from management.survey import await_streaming
from routers.conf import Profile

Note = Callable[[str], float]
"""Tells and records what was done; the moment."""

REGISTER: Final = "register"
SAMPLE_SECONDS: Final = 0.25
RATE_SECONDS: Final = 2.0
STREAMING_SECONDS: Final = 20.0
WRITABLE_AGAIN_SECONDS: Final = 2.0
"""From the start of `promote_replica` to the first write."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done."""

    at: float
    """Seconds since 1970."""
    what: str


@dataclass(frozen=True, slots=True)
class Failover:
    """What was done and what was seen."""

    old_primary: str
    new_primary: str
    began_at: float
    killed_at: float
    promotion_began_at: float
    events: tuple[Event, ...]
    samples: tuple[Sample, ...]
    sampled: Sampled
    lost: dict[str, int]
    """By node: acknowledged registrations that are not there at the end."""
    streaming: tuple[str, ...]
    """The replicas that stream from the new primary at the end."""
    expected_streaming: int
    rejoined_by: str

    @property
    def writes(self) -> list[Sample]:
        """Acknowledged registrations, in the order of their answers."""
        return sorted(
            (sample for sample in self.samples if sample.label == REGISTER and sample.is_success),
            key=lambda sample: sample.completed_at,
        )

    @property
    def reads(self) -> list[Sample]:
        """All that are no registrations."""
        return [sample for sample in self.samples if sample.label != REGISTER]

    @property
    def without_writes(self) -> tuple[float, float]:
        """From the last acknowledged write before the promotion to the first one after it; NaN if none came."""
        acknowledged_at = [sample.completed_at for sample in self.writes]
        before = [at for at in acknowledged_at if at <= self.promotion_began_at]
        after = [at for at in acknowledged_at if at > self.promotion_began_at]
        return (before[-1] if before else self.began_at, after[0] if after else math.nan)


def run_failover(subject: Subject, options: FailoverOptions, folder: Path) -> Chapter:
    """Load, kill, promote, rejoin, and count.

    Raises:
        Incomplete: The primary was killed, and a later step failed.
    """
    results = folder / "failover.jtl"
    subject.serve(Profile.REPLICATION)
    primary = subject.primary()
    wanted = {"writers": options.writers, "readers": options.readers, "rampUp": 1, "duration": round(options.seconds)}
    events: list[Event] = []

    def note(what: str) -> float:
        events.append(Event(time.time(), what))
        subject.say(f"kill-primary: {what}")
        return events[-1].at

    with asked_for(subject, folder) as asked, sampling(subject.watched(), SAMPLE_SECONDS) as sampler:
        properties = asked.properties | {name: str(value) for name, value in wanted.items()}
        load = Load(options.generator, Plan.FAILOVER, properties, results)
        try:
            load.await_begin()
            began_at = note(f"load begins: {options.writers} writers, {options.readers} readers")
            load.run_on(options.seconds / 2)
            killed_at = note(f"kill -9 of {primary}")
            load.require_running()
            subject.local(primary).kill()
            load.run_on(options.promote_after_seconds)
            promotion_began_at = note("promote_replica begins")
            new_primary, rejoined_by = _replace(subject, primary, note)
            load.wait(options.seconds)
            note("load ended")
        finally:
            load.stop()
    sampler.sampled().write(results.with_suffix(".nodes.csv"))
    samples = read_results(results)
    others = [node.name for node in subject.record.nodes if node.name != new_primary]
    login = operator_credentials(subject.state).superuser
    streaming = await_streaming(subject.record.node(new_primary), others, login, timeout_seconds=STREAMING_SECONDS)
    done = Failover(
        old_primary=primary,
        new_primary=new_primary,
        began_at=began_at,
        killed_at=killed_at,
        promotion_began_at=promotion_began_at,
        events=tuple(events),
        samples=tuple(samples),
        sampled=sampler.sampled(),
        lost={name: count_lost(subject, name, samples) for name in (new_primary, *streaming)},
        streaming=streaming,
        expected_streaming=len(others),
        rejoined_by=rejoined_by,
    )
    return describe_failover(done, options, folder)


def _replace(subject: Subject, primary: str, note: Note) -> tuple[str, str]:
    """Promote a replica and let the old primary rejoin; the new primary, and how the old one came back."""
    try:
        promoted = subject.manage("promote_replica", "--no-input", "--format=json")
        new_primary = str(promoted["plan"]["candidate"])
        note(f"promote_replica ended: {new_primary} is the primary, {' and '.join(promoted['streaming'])} follows it")
        note(f"rejoin_node {primary} begins")
        rejoined = subject.manage("rejoin_node", primary, "--no-input", "--format=json")
        note(f"{primary} is a replica again, by {rejoined['method']}")
    except OperationError as error:
        raise Incomplete(f"{primary} was killed, and then: {error}") from error
    return new_primary, str(rejoined["method"])


def count_lost(subject: Subject, node: str, samples: Sequence[Sample]) -> int:
    """How many of the acknowledged registrations are not on a node."""
    acknowledged = [sample.email for sample in samples if sample.label == REGISTER and sample.is_success]
    with subject.database(node) as connection:
        row = connection.execute(
            "SELECT count(*) FROM unnest(%s::text[]) AS acknowledged (email)"
            " WHERE NOT EXISTS (SELECT FROM users WHERE users.email = acknowledged.email)",
            [acknowledged],
        ).fetchone()
    return int(row[0]) if row else len(acknowledged)


def describe_failover(done: Failover, options: FailoverOptions, folder: Path) -> Chapter:
    """The chapter on one failover."""
    gap_began_at, gap_ended_at = done.without_writes
    failed_reads = [sample for sample in done.reads if not sample.is_success]
    refused = [sample for sample in done.samples if sample.label == REGISTER and not sample.is_success]
    after_promotion = gap_ended_at - done.promotion_began_at
    findings = (
        Finding("acknowledged writes lost", max(done.lost.values()), "", 0, 0),
        Finding("reads failed", len(failed_reads), "", 0, 0),
        Finding("time without writes", gap_ended_at - gap_began_at, "s"),
        Finding(
            "from the start of promote_replica to the first write", after_promotion, "s", at_most=WRITABLE_AGAIN_SECONDS
        ),
        Finding(
            "replicas that stream from the new primary at the end, the old one among them",
            len(done.streaming),
            "",
            at_least=done.expected_streaming,
        ),
    )
    tool = "JMeter" if options.generator.tool is LoadTool.JMETER else "the built-in driver"
    codes = sorted({sample.code for sample in refused})
    return Chapter(
        name="kill-primary",
        title="Writes while the primary is killed and a replica promoted",
        question="What do people notice, and is anything lost?",
        setting=(
            f"{options.writers} clients register people without a pause and {options.readers} read, for "
            f"{options.seconds:g} s ({tool}); `kill -9` of {done.old_primary} and all its processes after half of it, "
            f"`promote_replica` {options.promote_after_seconds:g} s later, then `rejoin_node {done.old_primary}`."
        ),
        seen=(
            f"{len(done.writes)} registrations were acknowledged; at the end each was looked for on "
            f"{', '.join(done.lost)}: {max(done.lost.values())} were missing.",
            f"{len(done.reads)} reads, {len(failed_reads)} failed.",
            f"{len(refused)} registrations were refused or not answered meanwhile"
            + (f" ({', '.join(codes)})." if codes else "."),
            f"For {gap_ended_at - gap_began_at:.2f} s no registration was acknowledged; the first one came "
            f"{after_promotion:.2f} s after `promote_replica` was started, its start included.",
            f"{done.old_primary} came back as a replica by {done.rejoined_by}; "
            f"{done.new_primary} is followed by {' and '.join(done.streaming) or 'nobody'}.",
        ),
        findings=findings,
        tables=(_by_label(done), _timeline(done, gap_ended_at)),
        plots=_plots(done, gap_ended_at, folder),
    )


def _by_label(done: Failover) -> Table:
    labels = sorted({sample.label for sample in done.samples})
    rows = tuple(
        (label, *show_summary(summarise([sample for sample in done.samples if sample.label == label])))
        for label in labels
    )
    return Table("Each kind of request", ("request", *SUMMARY_HEADINGS), rows)


def _timeline(done: Failover, first_write_at: float) -> Table:
    again = [] if math.isnan(first_write_at) else [Event(first_write_at, "first write acknowledged again")]
    events = sorted([*done.events, *again], key=lambda each: each.at)
    rows = tuple((show_figure(round(event.at - done.began_at, 2)), event.what) for event in events)
    return Table("What happened when", ("second", "event"), rows)


def _plots(done: Failover, first_write_at: float, folder: Path) -> tuple[Plot, ...]:
    began_at = done.began_at
    marks = {
        "kill": done.killed_at - began_at,
        "promote_replica": done.promotion_began_at - began_at,
        "first write": first_write_at - began_at,
    }
    refused = [s.completed_at for s in done.samples if s.label == REGISTER and not s.is_success]
    served = {
        "reads": per_second((s.completed_at for s in done.reads if s.is_success), began_at),
        "reads failed": per_second((s.completed_at for s in done.reads if not s.is_success), began_at),
    }
    written = {
        "acknowledged": per_second((s.completed_at for s in done.writes), began_at),
        "refused": per_second(refused, began_at),
    }
    transactions = {
        node: rates([(s.at - began_at, s.transactions) for s in done.sampled.of(node)], over_seconds=RATE_SECONDS)
        for node in done.sampled.names
    }
    behind = {
        node: [(at - began_at, None if lag is None else lag / _MIB) for at, lag in series]
        for node, series in lags(done.sampled).items()
    }
    drawn = (
        ("failover-writes.png", written, "registrations/s", "Registrations", "Registrations in each second."),
        ("failover-reads.png", served, "reads/s", "Reads", "Reads in each second, and those that failed."),
        (
            "failover-transactions.png",
            transactions,
            "transactions/s",
            "Transactions on each node",
            "Transactions of the application on each node; a gap: the node did not answer.",
        ),
        ("failover-lag.png", behind, "MiB behind", "Lag of each replica", "Lag of each node while it is a replica."),
    )
    return tuple(
        Plot(draw_lines(folder / file, lines, ylabel=ylabel, title=title, marks=marks), caption)
        for file, lines, ylabel, title, caption in drawn
    )
