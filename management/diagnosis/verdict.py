"""Concludes: every finding, the worst first, a line for each node, and one verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from management.diagnosis import answers, arrival, durability, leadership, replicas, settings, slots, surroundings
from management.diagnosis.case import Case, Finding, Limits, Rule, Severity
from management.examination import Examination
from management.lag import Health
from management.record import ClusterRecord
from management.survey import Evidence

RULES: Final[tuple[Rule, ...]] = (
    # In the order in which somebody would look: who leads, who answers, whether writes work, …
    *leadership.RULES,
    *answers.RULES,
    *durability.RULES,
    *replicas.RULES,
    *arrival.RULES,
    *surroundings.RULES,
    *slots.RULES,
    *settings.RULES,
)


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node in the topology. None: not known, or it has none."""

    name: str
    role: str
    """primary, replica, foreign, or how it is silent. A fenced node says so."""
    timeline: int | None
    system_identifier: int | None
    lsn: str | None
    """Flushed on a primary, replayed on a replica."""
    source: str | None
    """Where it streams from."""
    sync_state: str | None
    replay_lag_bytes: int | None
    replay_lag_seconds: float | None
    arrival_seconds: float | None
    """Of the test commit: confirmed on the primary, visible on a replica."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is the matter."""

    health: Health
    reason: str
    primary: str | None
    timeline: int
    nodes: tuple[NodeLine, ...]
    findings: tuple[Finding, ...]
    """The worst first."""


def diagnose(examination: Examination, record: ClusterRecord, limits: Limits) -> Diagnosis:
    """The diagnosis. Without warnings and critical findings it is healthy; warnings alone leave it so."""
    case = Case(examination, record, limits)
    found = [finding for rule in RULES for finding in rule(case)]
    # Stable: within a severity the order of the rules.
    findings = sorted(found, key=lambda finding: finding.severity is not Severity.CRITICAL)
    return Diagnosis(
        health=_health(case, findings),
        reason=_reason(findings),
        primary=case.survey.primary,
        timeline=case.survey.timeline,
        nodes=tuple(_line(name, case) for name in case.survey.nodes),
        findings=tuple(findings),
    )


def _health(case: Case, findings: list[Finding]) -> Health:
    """Without a primary it is unhealthy only if none can be alive unseen."""
    if len(case.survey.writable) > 1:
        return Health.UNHEALTHY
    unseen = [name for name in case.members if case.survey.nodes[name].evidence in {Evidence.REFUSED, Evidence.SILENT}]
    if (case.survey.primary is None and unseen) or (case.survey.primary and case.primary is None):
        return Health.UNKNOWN
    is_bad = any(finding.severity is Severity.CRITICAL for finding in findings)
    return Health.UNHEALTHY if is_bad else Health.HEALTHY


def _reason(findings: list[Finding]) -> str:
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    shown = ", ".join(
        f"{count} {severity}{'s' if severity is Severity.WARNING and count > 1 else ''}"
        for severity, count in counts.items()
        if count
    )
    return f"{shown}; first: {findings[0].what}" if counts[Severity.CRITICAL] else shown


def _line(name: str, case: Case) -> NodeLine:
    found, trip = case.survey.nodes[name], case.examination.round_trip
    lag = next((replica for replica in case.lag.replicas if replica.name == name), None)
    status = found.status
    role = "foreign" if name in case.survey.strangers else str(status.role if status else found.evidence)
    arrival_seconds = trip.arrival_seconds.get(name) if trip else None
    if trip and trip.waited and name == case.survey.primary:
        arrival_seconds = trip.commit_seconds
    return NodeLine(
        name=name,
        role=f"fenced, {role}" if name in case.fenced else role,
        timeline=status.timeline if status else None,
        system_identifier=status.system_identifier if status else None,
        lsn=str(status.lsn) if status else None,
        source=found.source,
        sync_state=lag.sync_state if lag else None,
        replay_lag_bytes=lag.replay_lag_bytes if lag else None,
        replay_lag_seconds=lag.replay_lag_seconds if lag else None,
        arrival_seconds=arrival_seconds,
    )
