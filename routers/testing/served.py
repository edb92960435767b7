"""Records which node answered each query of this thread, and asserts on it. Changes nothing about routing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import Error, connections

from routers import health, positions
from routers.conf import PRIMARY_ALIAS, routing_settings
from routers.failures import is_node_failure

_OF_THE_ROUTER: Final = {positions.REPLAYED, positions.INSERTED}
"""Asked over the application's connections, to place its queries and sign its tokens."""


@dataclass(frozen=True, slots=True)
class Query:
    """One that a node has answered, with rows or with an error."""

    alias: str
    """What it was sent to: `default` or a node's alias."""
    node: str
    """What answered: for `default`, the node its connection was bound to."""
    sql: str
    is_primary: bool
    """Whether that node was the primary then."""

    def __str__(self) -> str:
        return f"{self.node}{', the primary' if self.is_primary else ''} (as {self.alias!r}): {self.sql}"


@dataclass(slots=True)
class Queries:
    """What was answered so far. Each assertion that fails names the queries at fault and the node of each."""

    answered: list[Query] = field(default_factory=list)

    @property
    def nodes(self) -> set[str]:
        """The nodes that have answered."""
        return {query.node for query in self.answered}

    def assert_served_by(self, *nodes: str) -> None:
        """There was a query, and each was answered by one of these nodes."""
        __tracebackhide__ = True
        self._assert_some()
        self._assert_each(lambda query: query.node in nodes, f"served by {' or '.join(nodes)}")

    def assert_primary_only(self) -> None:
        """There was a query, and each was answered by the node that was the primary then."""
        __tracebackhide__ = True
        self._assert_some()
        self._assert_each(lambda query: query.is_primary, "served by the primary")

    def assert_no_primary(self) -> None:
        """None was answered by the node that was the primary then. Holds when there was no query."""
        __tracebackhide__ = True
        self._assert_each(lambda query: not query.is_primary, "served by a replica")

    def _assert_some(self) -> None:
        __tracebackhide__ = True
        if not self.answered:
            raise AssertionError("no node has answered a query of this thread")

    def _assert_each(self, is_right: Callable[[Query], bool], expected: str) -> None:
        __tracebackhide__ = True
        if wrong := [str(query) for query in self.answered if not is_right(query)]:
            raise AssertionError("\n  ".join([f"every query should be {expected}, but there was", *wrong]))


@contextmanager
def queries_by_node() -> Iterator[Queries]:
    """Record what the nodes answer inside, over `default` and every node's alias.

    Only statements of this thread are seen: connections belong to threads, so those of a live server or a worker
    are not. COPY is not seen. The router's own questions are left out.
    """
    queries = Queries()
    with ExitStack() as recording:
        for alias in (PRIMARY_ALIAS, *routing_settings().nodes):
            recording.enter_context(connections[alias].execute_wrapper(_recorder(alias, queries.answered)))
        yield queries


def _recorder(alias: str, answered: list[Query]) -> Callable[..., Any]:
    def record(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        has_answered = True
        try:
            return execute(sql, params, many, context)
        except Error as error:
            has_answered = not is_node_failure(error)
            raise
        finally:
            db = context["cursor"].db
            # A query that was run elsewhere passes the recorders of both aliases: that of the second counts it.
            if has_answered and db.alias == alias and str(sql) not in _OF_THE_ROUTER:
                is_primary = alias == PRIMARY_ALIAS or db.node == health.topology().primary
                answered.append(Query(alias, db.node, str(sql), is_primary))

    return record
