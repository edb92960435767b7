"""Tells from a finished statement whether it changed anything. Pure."""

from __future__ import annotations

import re
from typing import Final

_ROWS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
_HARMLESS: Final = frozenset(
    {"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "RESET", "SHOW", "EXPLAIN", "DECLARE"}
    | {"FETCH", "MOVE", "CLOSE", "LOCK", "LISTEN", "UNLISTEN", "NOTIFY", "DISCARD", "DEALLOCATE", "PREPARE"}
    | {"CHECKPOINT"}
)
_MODIFYING_CTE: Final = re.compile(r"\s*WITH\b.*\b(INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE | re.DOTALL)


_READING: Final = re.compile(r"\s*\(*\s*SELECT\b", re.IGNORECASE)


def is_select(sql: object) -> bool:
    """Whether the statement begins as a read. A data-changing CTE does not.

    >>> is_select(" SELECT 1"), is_select("(SELECT 1) UNION (SELECT 2)"), is_select("WITH x AS (DELETE …) …")
    (True, True, False)
    """
    return _READING.match(str(sql)) is not None


def has_written(command_tag: str | None, row_count: int, sql: object) -> bool:
    """Whether the statement changed a row, or may have.

    A function called by a SELECT may write too; nothing shows it: `routers.consistency.mark_written()`.

    Args:
        command_tag: PostgreSQL's, as in the protocol's CommandComplete. None if there was none.
        row_count: Rows it reports.
        sql: The statement. Looked at only where the tag does not tell: a SELECT over a data-changing CTE.

    >>> has_written("UPDATE 0", 0, "UPDATE …"), has_written("INSERT 0 1", 1, "INSERT …")
    (False, True)
    >>> has_written("SELECT 1", 1, "SELECT … FOR UPDATE"), has_written("SELECT 1", 1, "WITH x AS (DELETE …) …")
    (False, True)
    """
    verb = (command_tag or "").partition(" ")[0]
    if verb in _ROWS:
        return row_count != 0
    if verb == "SELECT":
        return _MODIFYING_CTE.match(str(sql)) is not None
    return bool(verb) and verb not in _HARMLESS
