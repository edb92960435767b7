"""Asks a node for its position over the application's own connection: one round trip, some 30 µs of the node."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from django.db import DatabaseError, InterfaceError, connections

from routers import metrics
from routers.conf import PRIMARY_ALIAS
from routers.lsn import Lsn
from routers.probe import TIMELINE_OF_PRIMARY
from routers.token import Token

logger = logging.getLogger(__name__)

REPLAYED: Final = "SELECT pg_last_wal_replay_lsn()::text"
# The flush and write positions can be behind a commit that was just acknowledged; this one never is.
INSERTED: Final = f"SELECT pg_current_wal_insert_lsn()::text, {TIMELINE_OF_PRIMARY}"
_FIRST_PAUSE_SECONDS: Final = 0.0005
_LONGEST_PAUSE_SECONDS: Final = 0.01


def replayed(alias: str) -> Lsn | None:
    """What the replica shows by now. None if it does not answer, or has replayed nothing."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(REPLAYED)
            (text,) = cursor.fetchone()
    except (DatabaseError, InterfaceError) as error:
        logger.info("the position of %s is unknown: %s", alias, error)
        return None
    return Lsn.parse(text) if text else None


def inserted(*, system_identifier: int) -> Token | None:
    """The position of the primary: everything committed before is below it. None if there is no primary."""
    try:
        with connections[PRIMARY_ALIAS].cursor() as cursor:
            cursor.execute(INSERTED)
            text, timeline = cursor.fetchone()
    except (DatabaseError, InterfaceError) as error:
        logger.info("the position of the primary is unknown: %s", error)
        return None
    return Token(system_identifier, timeline, Lsn.parse(text))


def wait_for(lsn: Lsn, aliases: Iterable[str], *, max_wait_seconds: float) -> str | None:
    """The first of the replicas to have replayed `lsn`; None if none has within the time.

    Blocks for at most `max_wait_seconds` and one round trip; asks at growing intervals.
    """
    waiting = list(aliases)
    started_at = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while waiting:
        for alias in list(waiting):
            position = replayed(alias)
            if position is None:
                waiting.remove(alias)
            elif position >= lsn:
                metrics.WAIT_SECONDS.observe(time.monotonic() - started_at)
                return alias
        if time.monotonic() - started_at + pause > max_wait_seconds:
            break
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    metrics.WAIT_SECONDS.observe(time.monotonic() - started_at)
    return None
