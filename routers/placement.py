"""Places the reads of a scope on a node. Looks at the snapshot first, asks nodes only if it does not tell."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from itertools import count
from random import randrange
from typing import Final

from django.core.signals import setting_changed

from routers import health, metrics, positions
from routers.budget import Budget
from routers.conf import PRIMARY_ALIAS, RoutingSettings
from routers.errors import PrimaryOverloaded
from routers.lsn import Lsn
from routers.node import Topology
from routers.request_state import Scope, Truth
from routers.requirement import NOTHING, Requirement, require
from routers.selection import Choice, Reason, choose_replica, freshest, worth_waiting_for

_MOVE_ONE_IN: Final = 64
"""Clients stay on the replica they have seen. So many requests apart one moves, so that a replica that
returns gets its share again; it costs one more round trip."""
_HOPELESS_SECONDS: Final = 0.5
"""A replica whose missing WAL has waited this long will not catch up in a moment: nobody waits for it."""


def place(scope: Scope, conf: RoutingSettings) -> Choice:
    """Choose the node for a scope's reads and remember it there.

    Without a token, or with one that the snapshot shows to be satisfied, no query is run. Else the replicas
    are asked, for at most `max_wait_seconds`; at last the primary serves, within its budget.

    Raises:
        PrimaryOverloaded: No replica can serve this read, and the budget is spent.
    """
    judge(scope)
    topology = health.topology()
    choice = _choose(scope, topology, conf)
    scope.node, scope.timeline = choice.alias or PRIMARY_ALIAS, topology.timeline
    return choice


def move(scope: Scope, conf: RoutingSettings) -> Choice:
    """Choose another node in the middle of a scope. It must show what the first one has shown.

    Raises:
        PrimaryOverloaded: As `place`.
    """
    demanded = scope.requirement or NOTHING
    if scope.has_read_node or scope.has_read_primary:
        seen_on = scope.node if scope.has_read_node and not scope.has_read_primary else PRIMARY_ALIAS
        scope.requirement = Requirement(demanded.lsn, seen_on or "", demanded.is_possibly_lost)
        scope.has_read_node = False
    return place(scope, conf)


def observe(scope: Scope) -> Choice:
    """What `place` would decide by the snapshot alone. Asks no node; the scope stays as it is."""
    topology = health.topology()
    demanded = require(scope.token, topology, primary_alias=PRIMARY_ALIAS)
    if demanded.is_possibly_lost:
        return Choice(None, Reason.POSSIBLY_LOST)
    good = topology.good_replicas
    if demanded.seen_on in good:
        return Choice(demanded.seen_on, Reason.SEEN_NODE)
    choice = choose_replica(topology, good, lsn=demanded.lsn, turn=next(_turns()))
    return choice or Choice(None, Reason.BEHIND if good else Reason.NO_GOOD_REPLICA)


def judge(scope: Scope) -> None:
    """Judge the scope's token, once. A newer timeline in it is news to this process, and fences an old primary.

    Writes too must come here first: their new token replaces the old one, and what that one says of a lost
    write would be forgotten.
    """
    if scope.requirement is not None:
        return
    token = scope.token
    if token is None:
        scope.requirement = NOTHING
        return
    topology = health.topology()
    if token.timeline > topology.timeline and token.system_identifier == topology.system_identifier:
        topology = health.monitor().learn_timeline(token.timeline)
    scope.requirement = require(token, topology, primary_alias=PRIMARY_ALIAS)
    if scope.requirement.is_possibly_lost:
        scope.truth = Truth.POSSIBLY_LOST
    metrics.TOKENS.labels("possibly_lost" if scope.requirement.is_possibly_lost else "honoured").inc()


def _choose(scope: Scope, topology: Topology, conf: RoutingSettings) -> Choice:
    demanded, turn = scope.requirement or NOTHING, next(_turns())
    if demanded is NOTHING and topology.good_replicas and not scope.failed:
        return Choice(topology.good_replicas[turn % len(topology.good_replicas)], Reason.REPLICA)
    good = [alias for alias in topology.good_replicas if alias not in scope.failed]
    if demanded.is_possibly_lost:
        return _from_primary(scope, topology, conf, reason=Reason.POSSIBLY_LOST)
    if demanded.seen_on in good and (turn % _MOVE_ONE_IN or len(good) == 1):
        return Choice(demanded.seen_on, Reason.SEEN_NODE)
    lsn = _position_to_show(demanded, topology, scope)
    if lsn is None:
        return _from_primary(scope, topology, conf, reason=Reason.BEHIND)
    # Those who move come at multiples of _MOVE_ONE_IN: by such a turn all would move to the same replica.
    turn += turn // _MOVE_ONE_IN
    scope.requirement = Requirement(lsn)
    if choice := choose_replica(topology, good, lsn=lsn, turn=turn):
        return choice
    hopeful = worth_waiting_for(topology, good, max_lag_seconds=_HOPELESS_SECONDS)
    if reached := positions.wait_for(lsn, hopeful, max_wait_seconds=conf.max_wait_seconds):
        return Choice(reached, Reason.WAITED)
    return _from_primary(scope, topology, conf, reason=Reason.BEHIND if good else Reason.NO_GOOD_REPLICA)


def _position_to_show(demanded: Requirement, topology: Topology, scope: Scope) -> Lsn | None:
    """The position that covers all the client has seen. None if nobody can tell it."""
    if not demanded.seen_on:
        return demanded.lsn
    if demanded.seen_on in topology.good_replicas and demanded.seen_on not in scope.failed:
        shown = positions.replayed(demanded.seen_on)
        if shown is not None:
            return max(demanded.lsn, shown)
    # Where it was seen cannot be asked. Every replica is behind the primary, so its position covers that too.
    if topology.primary is None or topology.system_identifier is None:
        return None
    now = positions.inserted(system_identifier=topology.system_identifier)
    return None if now is None or now.timeline != topology.timeline else max(demanded.lsn, now.lsn)


def _from_primary(scope: Scope, topology: Topology, conf: RoutingSettings, *, reason: Reason) -> Choice:
    """The primary, within its budget; else the best of what can answer, and the answer says so."""
    if topology.primary is None or PRIMARY_ALIAS in scope.failed:
        return _best_without_primary(scope, topology)
    demanded = scope.requirement or NOTHING
    late = freshest(topology, without=scope.failed).alias
    may_serve_late = late is not None and (scope.may_be_stale or _shows(topology, late, demanded))
    # Waiting one's turn slows the clients down to what the primary is allowed to bear; refusing makes them fail.
    patience_seconds = 0.0 if may_serve_late else conf.max_wait_seconds
    wait_seconds = _budget(conf.primary_reads_per_second).take(now=time.monotonic(), max_wait_seconds=patience_seconds)
    if wait_seconds is not None:
        time.sleep(wait_seconds)
        return Choice(None, reason)
    if late is not None and may_serve_late:
        scope.truth = scope.truth or (None if _shows(topology, late, demanded) else Truth.STALE)
        return Choice(late, Reason.OVER_BUDGET)
    metrics.SHED.inc()
    raise PrimaryOverloaded(
        f"no replica can serve this read ({reason}), and more of this process's reads wait for the primary than it "
        f"may serve in {conf.max_wait_seconds:g} s, at {conf.primary_reads_per_second:g} a second, which is the limit"
    )


def _best_without_primary(scope: Scope, topology: Topology) -> Choice:
    demanded = scope.requirement or NOTHING
    choice = freshest(topology, without=scope.failed)
    if choice.alias is not None and not _shows(topology, choice.alias, demanded):
        scope.truth = scope.truth or Truth.STALE
    return choice


def _shows(topology: Topology, alias: str, demanded: Requirement) -> bool:
    """Whether the snapshot proves that the node shows all the client has seen."""
    if demanded.is_possibly_lost:
        return False
    status = topology.nodes[alias].status
    return demanded.seen_on in {"", alias} and status is not None and status.lsn >= demanded.lsn


@cache
def _turns() -> Iterator[int]:
    """Those of this process. Each starts at a random one, so that many do not all begin with the same replica."""
    return count(randrange(1024))  # noqa: S311 - load balancing, not cryptography


# A server may load the application once and fork its workers.
os.register_at_fork(after_in_child=_turns.cache_clear)


@cache
def _budget(per_second: float) -> Budget:
    """One for the process."""
    return Budget(per_second=per_second)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "ROUTERS":
        _budget.cache_clear()


setting_changed.connect(_forget)
