"""Decides whether and to whom a living primary is handed over. Pure: a survey in, a plan or a refusal out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from management.errors import Refused
from management.record import ClusterRecord, Handover
from management.survey import Sender, Survey
from management.synchronous import SynchronousReplication


@dataclass(frozen=True, slots=True)
class HandoverPlan:
    """What a switchover would do."""

    old_primary: str
    """Becomes a replica."""
    candidate: str
    timeline: int
    """The one that the candidate leaves."""
    redirected: tuple[str, ...]
    """The other replicas, to be pointed at the candidate."""
    synchronous: SynchronousReplication
    """Which replicas shall confirm the candidate's commits."""
    lag_bytes: int
    """WAL that the candidate has not replayed yet; it gets it before the old primary has stopped."""
    is_continued: bool = False
    """An earlier switchover was broken off after the old primary had been told to stop."""
    is_promoted: bool = False
    """It was broken off after the promotion."""

    @property
    def followers(self) -> tuple[str, ...]:
        """All that shall stream from the candidate."""
        return (*self.redirected, self.old_primary)


def plan_handover(
    survey: Survey, senders: Iterable[Sender], record: ClusterRecord, *, wanted: str | None, max_lag_bytes: int
) -> HandoverPlan:
    """The plan, for the replica `wanted` or for the one that is least behind.

    Args:
        survey: Of all nodes.
        senders: The replicas as the primary sees them; none if it is stopped.
        record: The cluster; it knows of a switchover that was broken off.
        wanted: None: the best one.
        max_lag_bytes: A replica further behind is refused: the cluster would accept no writes while it catches up.

    Raises:
        Refused: There is not exactly one primary, or no replica is fit for it.
    """
    if record.handover is not None and survey.writable in ([], [record.handover.candidate]):
        return _continued(survey, record, record.handover, wanted)
    if len(survey.writable) != 1 or survey.primary is None:
        raise Refused(
            f"A switchover needs exactly one node that accepts writes; now {' and '.join(survey.writable) or 'none'} "
            f"does. {'fence_node the wrong one first.' if survey.writable else 'promote_replica is for that.'}"
        )
    if wanted == survey.primary:
        raise Refused(f"{wanted} is the primary already. Nothing was changed.")
    able = {sender.name: sender for sender in senders if sender.name in survey.replicas}
    if wanted is not None:
        record.node(wanted)
        _require_fit(wanted, able.get(wanted), max_lag_bytes)
    fit = [name for name, sender in able.items() if not _unfitness(sender, max_lag_bytes)]
    if not fit:
        found = "; ".join(f"{name} {_unfitness(each, max_lag_bytes)}" for name, each in able.items())
        raise Refused(f"No replica can take over from {survey.primary}: {found or 'none is connected to it'}.")
    candidate = wanted or min(fit, key=lambda name: (_lag_bytes(able[name]), name))
    redirected = tuple(name for name, sender in able.items() if name != candidate and sender.state == "streaming")
    return HandoverPlan(
        old_primary=survey.primary,
        candidate=candidate,
        timeline=survey.timeline,
        redirected=redirected,
        synchronous=SynchronousReplication.choose(record.synchronous.mode, (*redirected, survey.primary)),
        lag_bytes=_lag_bytes(able[candidate]),
    )


def _continued(survey: Survey, record: ClusterRecord, begun: Handover, wanted: str | None) -> HandoverPlan:
    if wanted not in {None, begun.candidate}:
        raise Refused(
            f"A switchover from {begun.old_primary} to {begun.candidate} was broken off. Finish it first: run this "
            f"without --node, or start {begun.old_primary} again: `manage.py setup_replication`."
        )
    is_promoted = begun.candidate in survey.writable
    if not is_promoted and begun.candidate not in survey.replicas:
        raise Refused(
            f"A switchover to {begun.candidate} was broken off, and {begun.candidate} does not answer. "
            f"Start {begun.old_primary} again: `manage.py setup_replication`."
        )
    redirected = tuple(name for name in survey.replicas if name not in {begun.candidate, begun.old_primary})
    return HandoverPlan(
        old_primary=begun.old_primary,
        candidate=begun.candidate,
        timeline=survey.timeline,
        redirected=redirected,
        synchronous=SynchronousReplication.choose(record.synchronous.mode, (*redirected, begun.old_primary)),
        lag_bytes=0,
        is_continued=True,
        is_promoted=is_promoted,
    )


def _require_fit(name: str, sender: Sender | None, max_lag_bytes: int) -> None:
    problem = _unfitness(sender, max_lag_bytes) if sender else "is not a replica that is connected to the primary"
    if problem:
        raise Refused(f"{name} {problem}. Nothing was changed.")


def _unfitness(sender: Sender, max_lag_bytes: int) -> str:
    """Why the replica cannot take over; empty if it can."""
    if sender.state != "streaming":
        return f"is in state {sender.state}, not streaming"
    if _lag_bytes(sender) > max_lag_bytes:
        return f"is {_lag_bytes(sender)} bytes behind, the limit is {max_lag_bytes} (--max-lag-bytes)"
    return ""


def _lag_bytes(sender: Sender) -> int:
    return max(0, sender.replay_lag_bytes or 0)
