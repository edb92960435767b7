"""Decides whether a replica may be promoted, and which. Pure: a survey in, a plan or a refusal out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from management.errors import Refused, Unknown
from management.record import ClusterRecord
from management.survey import Evidence, Survey
from management.synchronous import SynchronousReplication
from routers.lsn import Lsn
from routers.node import NodeStatus


@dataclass(frozen=True, slots=True)
class Risks:
    """What the operator has taken upon themselves, each by name."""

    accept_data_loss: bool = False
    assume_fenced: frozenset[str] = field(default_factory=frozenset)
    """Nodes the operator has made sure cannot accept writes."""


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What a promotion would do."""

    candidate: str
    candidate_lsn: str
    """The end of its WAL, received or replayed."""
    timeline: int
    """The one it leaves; it begins the next."""
    followers: tuple[str, ...]
    """Replicas to be pointed at the candidate."""
    fence: tuple[str, ...]
    """Silent nodes, one of which was the primary."""
    synchronous: SynchronousReplication
    """Which replicas shall confirm the candidate's commits."""
    is_lossless: bool
    """Whether every acknowledged commit is on the candidate."""
    lost_bytes: int
    """WAL that another replica has and the candidate lacks."""
    is_promoted: bool = False
    """An earlier promotion was broken off after it: what is left is to let the others follow."""


def plan_promotion(survey: Survey, record: ClusterRecord, risks: Risks, *, wanted: str | None = None) -> PromotionPlan:
    """The plan, for the candidate `wanted` or for the replica with the newest data.

    Raises:
        Refused: A primary is or may be alive, no replica answers, or commits would be lost.
        Unknown: A node is silent in a way that proves nothing.
    """
    if survey.strangers:
        raise Refused(f"{' and '.join(survey.strangers)} belongs to another cluster. Correct HIGHLOAD_NODES first.")
    fenced_before = {node.name for node in record.nodes if node.fenced}
    if record.primary in fenced_before and survey.primary is not None and survey.writable == [survey.primary]:
        return _finish(survey, record, survey.primary)
    _require_dead_primary(survey, risks, fenced_before)
    eligible = {name: status for name, status in survey.replicas.items() if name not in fenced_before}
    if not eligible:
        raise Refused("No replica answers, so there is nothing to promote. Start one first.")
    if wanted is not None and wanted not in eligible:
        raise Refused(f"{wanted} is not a replica that answers; these are: {', '.join(sorted(eligible))}.")
    newest_timeline = max(status.timeline for status in eligible.values())
    abreast = {name: status for name, status in eligible.items() if status.timeline == newest_timeline}
    candidate = wanted or max(abreast, key=lambda name: (_end_of_wal(abreast[name]), name in record.synchronous.names))
    lost_bytes = max(_end_of_wal(eligible[candidate]).bytes_behind(_end_of_wal(each)) for each in abreast.values())
    is_lossless = (
        candidate in abreast and lost_bytes == 0 and record.synchronous.covers_all_acknowledged(abreast.keys())
    )
    if not is_lossless and not risks.accept_data_loss:
        raise Refused(_explain_loss(candidate, lost_bytes, record.synchronous, abreast))
    followers = tuple(name for name in eligible if name != candidate)
    return PromotionPlan(
        candidate=candidate,
        candidate_lsn=str(_end_of_wal(eligible[candidate])),
        timeline=eligible[candidate].timeline,
        followers=followers,
        fence=tuple(name for name, found in survey.nodes.items() if found.status is None and name not in fenced_before),
        synchronous=SynchronousReplication.choose(record.synchronous.mode, followers),
        is_lossless=is_lossless,
        lost_bytes=lost_bytes,
    )


def _finish(survey: Survey, record: ClusterRecord, promoted: str) -> PromotionPlan:
    """The record still names the old primary, which is fenced: nobody has finished what was begun."""
    followers = tuple(name for name in survey.replicas if not record.node(name).fenced)
    leader = survey.nodes[promoted].status
    return PromotionPlan(
        candidate=promoted,
        candidate_lsn=str(leader.lsn) if leader else "",
        timeline=survey.timeline,
        followers=followers,
        fence=(),
        synchronous=SynchronousReplication.choose(record.synchronous.mode, followers),
        is_lossless=True,
        lost_bytes=0,
        is_promoted=True,
    )


def _end_of_wal(status: NodeStatus) -> Lsn:
    """After a restart the received position drops to the start of a segment; the replayed one does not."""
    return max(status.lsn, status.receive_lsn or Lsn(0))


def _require_dead_primary(survey: Survey, risks: Risks, fenced_before: Collection[str]) -> None:
    if survey.writable:
        raise Refused(
            f"{' and '.join(survey.writable)} accept{'' if survey.writable[1:] else 's'} writes: the primary is alive. "
            "Promoting another would make two. If it must go: `manage.py switchover`."
        )
    for name, found in survey.nodes.items():
        if name in risks.assume_fenced or name in fenced_before:
            continue
        if found.evidence is Evidence.SILENT:
            raise Unknown(
                f"{name} is silent, which does not prove that it is dead: it may be frozen and accept writes again. "
                f"Make sure that it cannot (end its processes with kill -9), then run this again, "
                f"with --assume-fenced {name} if it stays silent."
            )
    # From another replica is no sign of life: an interrupted promotion leaves them so.
    dead = set(survey.replicas) | set(fenced_before) | risks.assume_fenced
    for name, found in survey.nodes.items():
        if found.source is not None and found.source not in dead and name not in fenced_before:
            raise Refused(f"{name} still receives WAL from {found.source}, so a primary is alive there.")


def _explain_loss(
    candidate: str, lost_bytes: int, synchronous: SynchronousReplication, answering: Collection[str]
) -> str:
    if lost_bytes:
        why = f"{candidate} lacks {lost_bytes} bytes of WAL that another replica has"
    elif not synchronous.names:
        why = f"replication was asynchronous, so nobody knows whether {candidate} has every acknowledged commit"
    elif missing := [name for name in synchronous.names if name not in answering]:
        why = (
            f"{' and '.join(missing)}, which confirmed commits, does not answer on the newest timeline, so {candidate} "
            "may lack acknowledged ones"
        )
    else:
        why = f"{candidate} follows an older timeline"
    return (
        f"Acknowledged commits may be lost: {why}. Bring the missing replica back, or take it with --accept-data-loss."
    )
