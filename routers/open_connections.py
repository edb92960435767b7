"""The application's open connections of this process, by node, so that waiting on a dead one can be ended.

A statement that waits on a frozen node never comes back by itself, whatever the server's timeouts. Shutting
its socket down makes it fail at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import Any

import psycopg


class OpenConnection:
    """One connection, and a duplicate of its socket.

    A duplicate, because the descriptor that libpq owns may be closed, and its number reused, at any moment.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, node: str, is_for_writes: bool) -> None:
        self.node = node
        self.is_for_writes = is_for_writes
        self.is_committing = False
        """Whether it waits for a change to be confirmed."""
        self.is_cut = False
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with _lock:
            _open.add(self)

    def cut(self) -> None:
        """End what waits on it; from any thread."""
        self.is_cut = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Forget it, after it was closed."""
        with _lock:
            _open.discard(self)
        self._socket.close()


_open: weakref.WeakSet[OpenConnection] = weakref.WeakSet()
_lock = threading.Lock()


def cut_reads(node: str) -> None:
    """End what waits for an answer of this replica."""
    _cut(lambda each: each.node == node and not each.is_for_writes)


def cut_writes(node: str) -> None:
    """End what waits for an answer of this node as the primary."""
    _cut(lambda each: each.node == node and each.is_for_writes)


def cut_commits(node: str) -> None:
    """End the commits that wait for the replicas of this primary."""
    _cut(lambda each: each.node == node and each.is_committing)


def _cut(is_meant: Any) -> None:
    with _lock:
        meant = [each for each in _open if is_meant(each)]
    for each in meant:
        each.cut()


def _forget_in_child() -> None:
    """A child must not end its parent's connections: shutting a socket down ends it for both."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _open.clear()


os.register_at_fork(after_in_child=_forget_in_child)
