"""Cursors that notice what a statement did to its node: a change made, a node lost, a write sent astray."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
from django.db.backends import utils
from django.db.utils import Error

from routers.request_state import current_scope
from routers.writes import has_written

if TYPE_CHECKING:
    from routers.backend.base import DatabaseWrapper


class _Routed(utils.CursorWrapper):
    """Runs a read on another node if its own fails before any row was handed out."""

    db: DatabaseWrapper

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        try:
            with self.db.running(sql):
                result = super()._execute(sql, params, *context)  # type: ignore[misc]  # the stubs lack it
        except Error as error:
            other = self.db.after_failure(error, sql)
            is_named = isinstance(self.cursor, psycopg.ServerCursor)
            cursor = other.chunked_cursor() if is_named else other.cursor()
            result = cursor.execute(sql, params)
            with suppress(psycopg.Error):
                self.cursor.close()
            # From here on rows are fetched, and errors wrapped, by the node that answers.
            self.cursor, self.db = cursor.cursor, cursor.db
            return result
        self._note(sql)
        return result

    def _executemany(self, sql: Any, param_list: Any, *context: Any) -> Any:
        try:
            with self.db.running(sql):
                result = super()._executemany(sql, param_list, *context)  # type: ignore[misc]  # as above
        except Error as error:
            self.db.after_failure(error, sql, may_repeat=False)
            raise
        self._note(sql)
        return result

    def _note(self, sql: Any) -> None:
        scope = current_scope()
        if scope is None:
            return
        if not self.db.is_primary_alias:
            scope.has_read_node |= scope.node == self.db.alias
        elif has_written(self.cursor.statusmessage, self.cursor.rowcount, sql):
            self.db.note_change()


class RoutedCursor(_Routed):
    """Without a log of the statements."""


class RoutedDebugCursor(_Routed, utils.CursorDebugWrapper):
    """With Django's log of the statements."""
