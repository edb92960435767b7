"""The scope of a request or task: whether it may read replicas, from which, and what its client has seen.

A ContextVar that is reset by token, so that nothing leaks to the next request on the thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

from routers.requirement import Requirement
from routers.token import Token


class Truth(StrEnum):
    """What an answer must say about itself: the header `Consistency-Status`."""

    STALE = "stale"
    """It may be older than what the client has written or seen: no node that has it can answer."""
    POSSIBLY_LOST = "possibly-lost"
    """What the client wrote or saw before a promotion may be gone."""


@dataclass(slots=True)
class Scope:
    """What routing remembers between two queries of one request or task."""

    pinned: bool = False
    """Reads go to the primary: it has written, or is about to."""
    node: str | None = None
    """The alias chosen at the first read, kept for the others. None before."""
    outer: Scope | None = None
    """The scope around this one."""
    token: Token | None = None
    """What the client brought."""
    requirement: Requirement | None = None
    """What the token demands of the nodes. None until the first read asks."""
    may_be_stale: bool = False
    """The view prefers an old answer to none."""
    written_on: int | None = None
    """Timeline of the primary that committed a change last. None: nothing was written."""
    has_read_primary: bool = False
    """Ordinary reads went to the primary."""
    is_reading_default: bool = False
    """A read was routed to `default`: if that fails, another node may answer it."""
    has_read_node: bool = False
    """Rows of `node` were handed out: another node must not show less."""
    timeline: int = 0
    """The cluster's when the node was chosen."""
    failed: set[str] = field(default_factory=set)
    """Aliases that failed a read of this scope."""
    truth: Truth | None = None
    """What the answer must say about itself. None: nothing special."""
    reason: str = ""
    """Why the last read went where it went."""


_scope: ContextVar[Scope | None] = ContextVar("routers_scope", default=None)


def current_scope() -> Scope | None:
    """The scope in force, or None outside a request and outside `reading_from_replica()`."""
    return _scope.get()


class scope:
    """Open a scope whose reads may go to a replica, unless `pinned`. Nests; restores on exit.

    A class, because a generator would cost as much as the routing decision itself.
    """

    __slots__ = ("_opened", "_reset")

    def __init__(self, *, pinned: bool = False, token: Token | None = None) -> None:
        """Prepare it; `with` opens it.

        Args:
            pinned: Reads go to the primary.
            token: What its reads must not fall behind. None: what the scope around it must not.
        """
        outer = _scope.get()
        opened = Scope(pinned=pinned, outer=outer, token=token or (outer.token if outer else None))
        if outer is not None and not pinned and token is None and outer.has_read_node:
            # One page, one node.
            opened.node, opened.timeline, opened.requirement = outer.node, outer.timeline, outer.requirement
        self._opened = opened

    def __enter__(self) -> Scope:
        self._reset = _scope.set(self._opened)
        return self._opened

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._reset)
        if self._opened.outer is not None:
            _tell_outer(self._opened.outer, self._opened)


@contextmanager
def reading_from_replica() -> Iterator[None]:
    """Let the reads of a task or command go to a replica. A write inside pins the rest to the primary."""
    with scope():
        yield


@contextmanager
def primary() -> Iterator[None]:
    """Pin the reads inside to the primary."""
    with scope(pinned=True):
        yield


def pin_to_primary() -> None:
    """Send the further reads of the current scope, and of those around it, to the primary."""
    opened = _scope.get()
    while opened is not None:
        opened.pinned = True
        opened = opened.outer


def note_write(timeline: int) -> None:
    """A change was committed on this timeline, in the current scope and so in those around it."""
    opened = _scope.get()
    while opened is not None:
        opened.written_on = timeline
        opened = opened.outer


def _tell_outer(outer: Scope, inner: Scope) -> None:
    """What was seen inside was seen by the client of the scope around it."""
    outer.has_read_primary |= inner.has_read_primary
    outer.truth = outer.truth or inner.truth
    if not inner.has_read_node or inner.node == outer.node:
        return
    if outer.node is None:
        outer.node, outer.timeline, outer.requirement = inner.node, inner.timeline, inner.requirement
        outer.has_read_node = True
    else:
        # Two nodes were read: only a position of the primary covers both.
        outer.has_read_primary = True
