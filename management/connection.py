"""Direct connections of the control path, with short timeouts; past Django, because the primary may be dead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from management.credentials import Login
from management.record import RecordedNode
from routers.probe import shut_down

CONNECT_TIMEOUT_SECONDS: Final = 3
STATEMENT_TIMEOUT_MS: Final = 10_000


def conninfo(node: RecordedNode, login: Login, *, dbname: str = "postgres") -> dict[str, Any]:
    """Parameters of a connection to a node."""
    return {
        "host": node.host,
        "port": node.port,
        "dbname": dbname,
        "user": login.role,
        "password": login.password,
        "application_name": "highload-operator",
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # Text of a database in SQL_ASCII would come as bytes.
        "client_encoding": "UTF8",
    }


@contextmanager
def connect(
    node: RecordedNode, login: Login, *, timeout_seconds: float | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit, whose commits wait for no replica.

    Operator's statements must work while the synchronous replicas are away.

    Args:
        node: Where to.
        login: As whom.
        timeout_seconds: How long the connection may be used. Then its socket is shut, and what waits for an
            answer fails with `psycopg.OperationalError`: a server that freezes keeps no timeout of its own.
            Nothing is cancelled by that, least of all a commit that waits for a replica. None: no limit.
    """
    with (
        psycopg.connect(**conninfo(node, login), autocommit=True) as connection,
        _shut_after(connection, timeout_seconds),
    ):
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(STATEMENT_TIMEOUT_MS)])
        connection.execute("SET synchronous_commit = local")
        yield connection


@contextmanager
def _shut_after(connection: psycopg.Connection[Any], timeout_seconds: float | None) -> Iterator[None]:
    if timeout_seconds is None:
        yield
        return
    timer = threading.Timer(timeout_seconds, shut_down, [connection.pgconn.socket])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # Closed before this, the descriptor could be another connection's already.
        timer.join()


def redirected(source: str, target: RecordedNode, name: str) -> str:
    """A replica's `primary_conninfo` with the same user and secrets, but to another node."""
    parts = conninfo_to_dict(source)
    parts.update(host=target.host, port=str(target.port), application_name=name)
    parts.pop("hostaddr", None)
    return make_conninfo("", **parts)
