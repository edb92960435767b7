"""Hands on what a client has written and seen: to its next request, to a job, and back.

token = consistency.current_token()          # in the request, after the commit
with consistency.reading_no_older_than(token):  # in the job
    ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from routers import health, metrics, positions
from routers.conf import PRIMARY_ALIAS, Profile, routing_settings
from routers.errors import NotCommitted
from routers.lsn import Lsn
from routers.request_state import Scope, Truth, current_scope, note_write, scope
from routers.token import Token, sign, verify


def current_token() -> str:
    """What the current request or task has written and seen, for a job that must not read less.

    One round trip to the primary if something was written, else none. Empty if nothing is known, which
    `reading_no_older_than` accepts.

    Raises:
        NotCommitted: Inside a transaction that has changed something; call it from `transaction.on_commit`.
    """
    if getattr(connections[PRIMARY_ALIAS], "has_uncommitted_change", False):
        raise NotCommitted(
            "the transaction has changed something and is not committed: its position is not known yet; "
            "ask from transaction.on_commit()"
        )
    opened = current_scope()
    if opened is None:
        return ""
    token = next_token(opened) or opened.token
    return sign(token) if token is not None else ""


@contextmanager
def reading_no_older_than(token: str) -> Iterator[None]:
    """Let reads go to replicas that have what the token stands for. A forged or empty token demands nothing."""
    with scope(token=read_token(token)):
        yield


def mark_written() -> None:
    """Say that this request has written, where no statement shows it: a function called by a SELECT."""
    note_write(health.topology().timeline)


def read_token(text: str) -> Token | None:
    """A token that came from outside. None if there is none, or if it is damaged or forged, which is counted."""
    if not text:
        return None
    token = verify(text)
    if token is None:
        metrics.TOKENS.labels("refused").inc()
    return token


def next_token(opened: Scope) -> Token | None:
    """What the client of this scope has written and seen by now. None: nothing new.

    One round trip to the primary if the scope has written, else no query.
    """
    conf = routing_settings()
    if not conf.consistency_tokens or conf.profile is Profile.MASTER_ONLY or opened.truth is Truth.STALE:
        return None
    system_identifier = health.topology().system_identifier
    if system_identifier is None:
        return None
    known = opened.requirement.lsn if opened.requirement else Lsn(0)
    if opened.written_on is not None:
        now = positions.inserted(system_identifier=system_identifier)
        if now is not None and now.timeline == opened.written_on:
            return now
        # Where the write lies cannot be asked any more: "what the primary of that timeline showed".
        return Token(system_identifier, opened.written_on, known, PRIMARY_ALIAS)
    if opened.has_read_primary:
        return Token(system_identifier, opened.timeline or health.topology().timeline, known, PRIMARY_ALIAS)
    if opened.has_read_node and opened.node is not None:
        return Token(system_identifier, opened.timeline, known, opened.node)
    return None
