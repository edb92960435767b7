"""The scope of a request or task: whether it may read replicas, from which, and whether it is pinned.

A ContextVar that is reset by token, so that nothing leaks to the next request on the thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Scope:
    """What routing remembers between two queries of one request or task."""

    pinned: bool = False
    """Reads go to the primary: it has written, or is about to."""
    node: str | None = None
    """The replica chosen at the first read, kept for the others. None before."""
    outer: Scope | None = None
    """The scope around this one."""


_scope: ContextVar[Scope | None] = ContextVar("routers_scope", default=None)


def current_scope() -> Scope | None:
    """The scope in force, or None outside a request and outside `reading_from_replica()`."""
    return _scope.get()


@contextmanager
def scope(*, pinned: bool = False) -> Iterator[Scope]:
    """Open a scope whose reads may go to a replica, unless `pinned`. Nests; restores on exit."""
    opened = Scope(pinned=pinned, outer=_scope.get())
    token = _scope.set(opened)
    try:
        yield opened
    finally:
        _scope.reset(token)


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
