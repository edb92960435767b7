"""The invariants, one function each: a history in, violations in words out. Pure, each one pass or one sort.

A history is in the order of `invoked_at`, and a session has one operation at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from management.history.operations import ABSENT, Kind, Operation, Outcome
from management.history.verdict import Bounds, FinalState

History = Sequence[Operation]


def acknowledged_writes_lost(history: History, final: FinalState) -> Iterator[str]:
    """Each acknowledged write that the final state does not have."""
    for operation in history:
        version = final.versions.get(operation.key)
        if operation.is_acknowledged_write and version is not None and version < (operation.version or 0):
            yield f"{_told(operation)}; the final state has {_shown(version)}"
    registered = {op.key: op for op in history if op.kind is Kind.REGISTER and op.outcome is Outcome.OK}
    for key in final.refused_logins:
        if key in registered:
            yield f"{_told(registered[key])}; at the end this user cannot log in"


def stale_reads(history: History) -> Iterator[str]:
    """Each read that shows less than its session's own last acknowledged write."""
    written: dict[tuple[int, str], Operation] = {}
    for operation in history:
        place = (operation.session, operation.key)
        own = written.get(place)
        if operation.is_acknowledged_write:
            written[place] = operation
        elif own is not None and _shows_less(operation, own):
            yield f"{_told(operation)}; but {_told(own)}"


def backwards_reads(history: History) -> Iterator[str]:
    """Each read that shows less than its session had seen before."""
    seen: dict[tuple[int, str], Operation] = {}
    for operation in history:
        if not operation.is_answered_read:
            continue
        place = (operation.session, operation.key)
        before = seen.get(place)
        if before is None or _version(operation) > _version(before):
            seen[place] = operation
        elif _shows_less(operation, before):
            yield f"{_told(operation)}; but {_told(before)}"


def vanished_values(history: History, final: FinalState) -> Iterator[str]:
    """Each read of a version that the final state is behind, that nobody wrote, or that was refused."""
    written = _outcomes_by_version(history)
    for operation in history:
        if not operation.is_answered_read or operation.version in {None, ABSENT}:
            continue
        outcome = written.get((operation.key, _version(operation)))
        version = final.versions.get(operation.key)
        if outcome is None:
            yield f"{_told(operation)}; nobody wrote that"
        elif outcome is Outcome.FAIL:
            yield f"{_told(operation)}; the write of it was refused"
        elif version is not None and version < _version(operation):
            yield f"{_told(operation)}; the final state has {_shown(version)}"


def split_brain_writes(history: History) -> Iterator[str]:
    """Each write acknowledged on a timeline after one was acknowledged on a newer timeline."""
    acknowledged = [op for op in history if op.is_acknowledged_write and op.timeline is not None]
    by_completion = iter(sorted(acknowledged, key=lambda op: op.completed_at))
    newest, coming = None, next(by_completion, None)
    for operation in acknowledged:
        while coming is not None and coming.completed_at < operation.invoked_at:
            if newest is None or _timeline(coming) > _timeline(newest):
                newest = coming
            coming = next(by_completion, None)
        if newest is not None and _timeline(operation) < _timeline(newest):
            yield f"{_told(operation)} on timeline {operation.timeline}; but {_told(newest)} on {newest.timeline}"


def failed_reads(history: History) -> Iterator[str]:
    """Each read without a usable answer."""
    for operation in history:
        if not operation.is_write and operation.outcome is not Outcome.OK:
            status = f"HTTP {operation.status}" if operation.status is not None else "no answer"
            seconds = operation.completed_at - operation.invoked_at
            yield f"{_told(operation)}: {status} after {seconds:.3f} s, {operation.detail}"


def long_gaps_without_writes(history: History, bounds: Bounds) -> Iterator[str]:
    """Each time without an acknowledged write that is longer than the bound."""
    limit = bounds.max_seconds_without_writes
    for start, end in gaps_without_writes(history) if limit is not None else ():
        if end - start > (limit or 0):
            yield f"no write was acknowledged from {start:.3f} s to {end:.3f} s, for {end - start:.3f} s"


def gaps_without_writes(history: History) -> Iterator[tuple[float, float]]:
    """From acknowledgement to acknowledgement, the first attempt and the end of the last one included."""
    writes = [operation for operation in history if operation.is_write]
    if writes:
        acknowledged = sorted(op.completed_at for op in writes if op.outcome is Outcome.OK)
        last = max(operation.completed_at for operation in writes)
        yield from pairwise([writes[0].invoked_at, *acknowledged, last])


def _outcomes_by_version(history: History) -> Mapping[tuple[str, int], Outcome]:
    """How each attempted write ended; the best of them, should a version have been tried twice."""
    found: dict[tuple[str, int], set[Outcome]] = defaultdict(set)
    for operation in history:
        if operation.is_write:
            found[operation.key, _version(operation)].add(operation.outcome)
    order = (Outcome.OK, Outcome.UNKNOWN, Outcome.FAIL)
    return {place: next(outcome for outcome in order if outcome in outcomes) for place, outcomes in found.items()}


def _shows_less(read: Operation, known: Operation) -> bool:
    """Whether an unflagged answer contradicts what its session knew before it asked."""
    is_judged = read.is_answered_read and not read.is_flagged and known.completed_at <= read.invoked_at
    # A login tells no version, only that there is somebody.
    return is_judged and _version(read) < (_version(known) if read.version is not None else 0)


def _version(operation: Operation) -> int:
    """What it says at least: a login that succeeds, that somebody is there."""
    return operation.version if operation.version is not None else 0


def _timeline(operation: Operation) -> int:
    return operation.timeline or 0


def _told(operation: Operation) -> str:
    done = {Kind.REGISTER: "registered", Kind.PATCH: "wrote", Kind.LOGIN: "logged in as"}.get(operation.kind, "read")
    version = f" {_shown(operation.version)}" if operation.version is not None else ""
    when = f"{operation.invoked_at:.3f}–{operation.completed_at:.3f} s"
    return f"session {operation.session} {done} user {operation.key}{version} at {when}"


def _shown(version: int | None) -> str:
    return "nobody" if version == ABSENT else f"version {version}"
