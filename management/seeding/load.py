"""Loads generated people into the primary: one COPY, indexes after it, replicas waited for.

On an empty table the indexes are dropped, the rows copied and the indexes built in one transaction, so
an interrupted run leaves the table as it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
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
from routers.node import Node
from users.models import User

_TABLE: Final = User._meta.db_table
_POLL_SECONDS: Final = 0.05
_LIMITED_ROWS: Final = 500
"""Written at a time under a limit of lag: about half a MiB of WAL, indexes included."""


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

    def hold(self, written: Lsn, next_bytes: int) -> None:
        """Block until every replica that answers can take so many more bytes. Asks the nodes, not the snapshot.

        Args:
            written: What the primary has written; it may not have made it durable, and so not have sent it.
            next_bytes: How much the next step may write.
        """
        assert self.max_lag_bytes is not None  # noqa: S101 - else there is nothing to hold for
        started_at = time.monotonic()
        room_bytes = max(0, self.max_lag_bytes - next_bytes)
        health.monitor().refresh()
        while any(lag > room_bytes for lag in _lags_behind(written)):
            self.look()
            time.sleep(_POLL_SECONDS)
            health.monitor().refresh()
        self.waited_seconds += time.monotonic() - started_at


def count_users() -> int:
    """Rows in the table; reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).count()


def has_people() -> bool:
    """Whether anybody was seeded or has registered, the staff left aside; reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).filter(is_staff=False).exists()


def count_people() -> int:
    """Those who were seeded or have registered, without the staff; reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).filter(is_staff=False).count()


def find_person() -> User | None:
    """Anybody who can be found, without the staff; the one who is there longest. Reads the primary."""
    return User.objects.using(PRIMARY_ALIAS).filter(is_active=True, is_staff=False).order_by("id").first()


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
        is_emptied = not append and _empty(cursor, with_what_refers=replace)
        statement = _copy_statement(freeze=is_emptied)
        batches = _told(batches_from(first_id), exporting, watch, progress)
        progress.phase("copy")
        if watch.max_lag_bytes is not None:
            # The indexes stay: building one writes faster than anybody can wait for a replica.
            _copy_within_limit(cursor, statement, batches, watch)
        elif append:
            _copy(cursor, statement, batches)
        else:
            with _without_indexes(connection, progress):
                _copy(cursor, statement, batches)
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(max(id), 1)) FROM " + _TABLE, [_TABLE])
    progress.phase("analyze")
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {_TABLE}")
    return first_id


def await_replicas(watch: LagWatch, *, timeout_seconds: float) -> list[str]:
    """Wait until every replica that answers has replayed all of it; return those that have not in time."""
    with connections[PRIMARY_ALIAS].cursor() as cursor:
        target = _insert_lsn(cursor)
    deadline = time.monotonic() + timeout_seconds
    while behind := _behind(target):
        if time.monotonic() > deadline:
            return behind
        watch.look()
        time.sleep(_POLL_SECONDS)
    return []


def _behind(target: Lsn) -> list[str]:
    return [node.alias for node in _answering_replicas() if node.status and node.status.lsn < target]


def _lags_behind(written: Lsn) -> list[int]:
    return [node.status.lsn.bytes_behind(written) for node in _answering_replicas() if node.status]


def _answering_replicas() -> list[Node]:
    topology = health.topology()
    return [node for node in topology.nodes.values() if node.alias != topology.primary and node.lag_bytes is not None]


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


def _copy_statement(*, freeze: bool) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN {}").format(
        sql.Identifier(_TABLE),
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        sql.SQL("(FREEZE)" if freeze else ""),
    )


def _told(
    batches: Iterable[Batch], exporting: IO[str] | None, watch: LagWatch, progress: Progress
) -> Iterator[tuple[str, int]]:
    """Text and rows of each batch; once it is loaded, it is exported, shown, and the lag looked at."""
    for batch in batches:
        yield batch.copy_text, len(batch.emails)
        if exporting is not None:
            exporting.writelines(f"{batch.first_id + index},{email}\n" for index, email in enumerate(batch.emails))
        progress.rows(len(batch.emails))
        watch.look()


def _copy(cursor: Any, statement: sql.Composed, batches: Iterable[tuple[str, int]]) -> None:
    """All in one COPY, as fast as it goes."""
    with cursor.copy(statement) as copy:
        for text, _ in batches:
            copy.write(text)


def _copy_within_limit(
    cursor: Any, statement: sql.Composed, batches: Iterable[tuple[str, int]], watch: LagWatch
) -> None:
    """A few rows in each COPY: what has ended is written, while one under way may have megabytes still to come."""
    written, largest_bytes = _insert_lsn(cursor), 0
    for text, _ in batches:
        lines = text.splitlines(keepends=True)
        for start in range(0, len(lines), _LIMITED_ROWS):
            with cursor.copy(statement) as copy:
                copy.write("".join(lines[start : start + _LIMITED_ROWS]))
            before, written = written, _insert_lsn(cursor)
            largest_bytes = max(largest_bytes, before.bytes_behind(written))
            watch.hold(written, largest_bytes)


def _insert_lsn(cursor: Any) -> Lsn:
    cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
    return Lsn.parse(cursor.fetchone()[0])


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
