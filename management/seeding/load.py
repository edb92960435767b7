"""Loads generated people into the primary: one COPY, indexes after it, replicas waited for.

On an empty table the indexes are dropped, the rows copied and the indexes built in one transaction, so
an interrupted run leaves the table as it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

from django.db import connections, transaction
from psycopg import sql

from management.errors import Refused
from management.seeding.people import COLUMNS, Batch
from routers import health
from routers.conf import PRIMARY_ALIAS
from routers.lsn import Lsn
from users.models import User

_TABLE: Final = User._meta.db_table
_POLL_SECONDS: Final = 0.05


class Progress(Protocol):
    """Who is told how far the load is."""

    def phase(self, name: str) -> None:
        """Another phase begins."""

    def rows(self, count: int) -> None:
        """So many more rows were sent."""


@dataclass(slots=True)
class LagWatch:
    """The replicas' lag while loading, from the prober's snapshots."""

    max_lag_bytes: int | None
    highest_bytes: dict[str, int] = field(default_factory=dict)
    waited_seconds: float = 0.0

    def look(self) -> dict[str, int]:
        """Lag in bytes of each replica that answers, by name."""
        lags = {node.alias: node.lag_bytes for node in health.topology().nodes.values() if node.lag_bytes is not None}
        for name, lag in lags.items():
            self.highest_bytes[name] = max(lag, self.highest_bytes.get(name, 0))
        return lags

    def hold(self) -> None:
        """Block while a replica that answers is further behind than allowed. Asks the nodes, not the snapshot."""
        if self.max_lag_bytes is None:
            return
        started_at = time.monotonic()
        health.monitor().refresh()
        while any(lag > self.max_lag_bytes for lag in self.look().values()):
            time.sleep(_POLL_SECONDS)
            health.monitor().refresh()
        self.waited_seconds += time.monotonic() - started_at


def count_users() -> int:
    """Rows in the table; reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).count()


def has_users() -> bool:
    """Whether there is any row; reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).exists()


def load_users(
    batches_from: Callable[[int], Iterable[Batch]],
    *,
    replace: bool,
    append: bool,
    export: Path | None,
    watch: LagWatch,
    progress: Progress,
) -> int:
    """Load all batches in one transaction and return the id of the first person.

    Args:
        batches_from: Given the first free id, the batches to load.
        replace: Delete every user first.
        append: Keep the users and the indexes, and add to them.
        export: File for `id,email` lines; it appears only when everything has succeeded.
        watch: Limits and remembers the lag.
        progress: Told of each step.

    Raises:
        Refused: The table is not empty, and neither `replace` nor `append` was asked for.
    """
    connection = connections[PRIMARY_ALIAS]
    with ExitStack() as stack:
        exporting = stack.enter_context(_exporting(export)) if export else None
        stack.enter_context(transaction.atomic(using=PRIMARY_ALIAS))
        cursor = stack.enter_context(connection.cursor())
        # Against a second seeding and against registrations between looking and copying.
        cursor.execute(f"LOCK TABLE {_TABLE} IN SHARE ROW EXCLUSIVE MODE")
        if not append and not replace and has_users():
            raise Refused(f"The table {_TABLE} is not empty. Add to it with --append, or empty it with --replace.")
        first_id = _first_free_id(cursor)
        if append:
            _copy(cursor, batches_from(first_id), exporting, freeze=False, watch=watch, progress=progress)
        else:
            is_emptied = _empty(cursor, with_what_refers=replace)
            with _without_indexes(connection, progress):
                _copy(cursor, batches_from(first_id), exporting, freeze=is_emptied, watch=watch, progress=progress)
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(max(id), 1)) FROM " + _TABLE, [_TABLE])
    progress.phase("analyze")
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {_TABLE}")
    return first_id


def await_replicas(watch: LagWatch, *, timeout_seconds: float) -> list[str]:
    """Wait until every replica that answers has replayed all of it; return those that have not in time."""
    with connections[PRIMARY_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
        target = Lsn.parse(cursor.fetchone()[0])
    deadline = time.monotonic() + timeout_seconds
    while behind := _behind(target):
        if time.monotonic() > deadline:
            return behind
        watch.look()
        time.sleep(_POLL_SECONDS)
    return []


def _behind(target: Lsn) -> list[str]:
    topology = health.topology()
    return [
        node.alias
        for node in topology.nodes.values()
        if node.status is not None
        and node.alias != topology.primary
        and node.lag_bytes is not None
        and node.status.lsn < target
    ]


def _first_free_id(cursor: Any) -> int:
    cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {_TABLE}")
    first_id: int = cursor.fetchone()[0]
    return first_id


def _empty(cursor: Any, *, with_what_refers: bool) -> bool:
    """Truncate the table, also an empty one: only then may COPY freeze the rows. Return whether it was done.

    PostgreSQL truncates it only together with the tables that refer to it. Their rows are deleted only on
    demand; otherwise, if there are any, nothing is truncated.
    """
    cursor.execute(
        "SELECT relname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " WHERE contype = 'f' AND confrelid = %s::regclass",
        [_TABLE],
    )
    hanging = [name for (name,) in cursor.fetchall()]
    for name in hanging:
        cursor.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(name)))
        if cursor.fetchone() and not with_what_refers:
            return False
    names = sql.SQL(", ").join(sql.Identifier(name) for name in dict.fromkeys([_TABLE, *hanging]))
    cursor.execute(sql.SQL("TRUNCATE {}").format(names))
    return True


@contextmanager
def _without_indexes(connection: Any, progress: Progress) -> Any:
    """Drop what the model declares beside the primary key, and build it again afterwards."""
    unique = [constraint for constraint in User._meta.constraints if constraint.name == "users_email_unique"]
    with connection.schema_editor(atomic=False) as editor:
        for constraint in unique:
            editor.remove_constraint(User, constraint)
        for index in User._meta.indexes:
            editor.remove_index(User, index)
        yield
        for constraint in unique:
            progress.phase(f"index {constraint.name}")
            editor.add_constraint(User, constraint)
        for index in User._meta.indexes:
            progress.phase(f"index {index.name}")
            editor.add_index(User, index)


def _copy(
    cursor: Any,
    batches: Iterable[Batch],
    exporting: IO[str] | None,
    *,
    freeze: bool,
    watch: LagWatch,
    progress: Progress,
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN {}").format(
        sql.Identifier(_TABLE),
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        sql.SQL("(FREEZE)" if freeze else ""),
    )
    progress.phase("copy")
    with cursor.copy(statement) as copy:
        for batch in batches:
            copy.write(batch.copy_text)
            if exporting is not None:
                exporting.writelines(f"{batch.first_id + index},{email}\n" for index, email in enumerate(batch.emails))
            progress.rows(len(batch.emails))
            watch.look()
            watch.hold()


@contextmanager
def _exporting(path: Path) -> Any:
    temporary = path.with_name(path.name + ".partial")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("id,email\n")
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
