"""Judges replication: each replica's lag against thresholds. Facts in, report out; asks nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from management.exit_codes import ExitCode
from management.survey import Sender, Survey
from routers.node import NodeStatus, Role


class Health(StrEnum):
    """The verdict on a replica, or on all."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> ExitCode:
        """For the command line."""
        return {
            Health.HEALTHY: ExitCode.DONE,
            Health.UNHEALTHY: ExitCode.REFUSED,
            Health.UNKNOWN: ExitCode.UNKNOWN,
        }[self]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much replay lag is too much."""

    max_lag_bytes: int
    max_lag_seconds: float


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """One replica. Lags are None when unknown; the times also when nothing is in flight."""

    name: str
    health: Health
    reason: str
    state: str | None
    sync_state: str | None
    timeline: int | None
    replay_lsn: str | None
    write_lag_bytes: int | None
    flush_lag_bytes: int | None
    replay_lag_bytes: int | None
    write_lag_seconds: float | None
    flush_lag_seconds: float | None
    replay_lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class LagReport:
    """All replicas, and the verdict."""

    primary: str | None
    primary_lsn: str | None
    timeline: int
    health: Health
    reason: str
    replicas: list[ReplicaLag]

    @property
    def exit_code(self) -> ExitCode:
        """For the command line."""
        return self.health.exit_code


def judge_lag(
    survey: Survey, senders: Iterable[Sender], thresholds: Thresholds, *, fenced: Iterable[str] = ()
) -> LagReport:
    """The report on every node that should be a replica; fenced nodes should not."""
    seen = {sender.name: sender for sender in senders}
    leader = survey.nodes[survey.primary].status if survey.primary else None
    expected = [name for name in survey.nodes if name != survey.primary and name not in set(fenced)]
    replicas = [_judge(name, survey, seen.get(name), leader, thresholds) for name in expected]
    health, reason = _overall(survey, replicas)
    return LagReport(
        primary=survey.primary,
        primary_lsn=str(leader.lsn) if leader else None,
        timeline=survey.timeline,
        health=health,
        reason=reason,
        replicas=replicas,
    )


def _overall(survey: Survey, replicas: list[ReplicaLag]) -> tuple[Health, str]:
    if len(survey.writable) > 1:
        return Health.UNHEALTHY, f"split brain: {' and '.join(survey.writable)} accept writes"
    if survey.primary is None:
        return Health.UNKNOWN, "no primary answers, so nobody can say how far behind the replicas are"
    bad = [replica for replica in replicas if replica.health is not Health.HEALTHY]
    if bad:
        return Health.UNHEALTHY, "; ".join(f"{replica.name}: {replica.reason}" for replica in bad)
    return Health.HEALTHY, ""


def _judge(
    name: str, survey: Survey, sender: Sender | None, leader: NodeStatus | None, thresholds: Thresholds
) -> ReplicaLag:
    status = survey.nodes[name].status
    lag_bytes = sender.replay_lag_bytes if sender else survey.lag_bytes(name)
    health, reason = _verdict(survey, name, sender, leader, lag_bytes, thresholds)
    return ReplicaLag(
        name=name,
        health=health,
        reason=reason,
        state=sender.state if sender else None,
        sync_state=sender.sync_state if sender else None,
        timeline=status.timeline if status else None,
        replay_lsn=str(status.lsn) if status else None,
        write_lag_bytes=sender.write_lag_bytes if sender else None,
        flush_lag_bytes=sender.flush_lag_bytes if sender else None,
        replay_lag_bytes=lag_bytes,
        write_lag_seconds=sender.write_lag_seconds if sender else None,
        flush_lag_seconds=sender.flush_lag_seconds if sender else None,
        replay_lag_seconds=sender.replay_lag_seconds if sender else None,
    )


def _verdict(
    survey: Survey,
    name: str,
    sender: Sender | None,
    leader: NodeStatus | None,
    lag_bytes: int | None,
    thresholds: Thresholds,
) -> tuple[Health, str]:
    found = survey.nodes[name]
    if found.status is None:
        return Health.UNHEALTHY, f"does not answer ({found.evidence})"
    if found.status.role is Role.PRIMARY:
        return Health.UNHEALTHY, f"accepts writes on timeline {found.status.timeline}"
    if leader is None:
        return Health.UNKNOWN, "there is no primary to compare with"
    if sender is None:
        return Health.UNHEALTHY, f"not connected to {survey.primary}"
    if sender.state != "streaming":
        return Health.UNHEALTHY, f"state is {sender.state}, not streaming"
    if lag_bytes is not None and lag_bytes > thresholds.max_lag_bytes:
        return Health.UNHEALTHY, f"{lag_bytes} bytes behind, the limit is {thresholds.max_lag_bytes}"
    if (sender.replay_lag_seconds or 0.0) > thresholds.max_lag_seconds and lag_bytes:
        return (
            Health.UNHEALTHY,
            f"{sender.replay_lag_seconds:.1f} s behind, the limit is {thresholds.max_lag_seconds:.1f}",
        )
    return Health.HEALTHY, ""
