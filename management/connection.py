"""Direct connections of the control path, with short timeouts; past Django, because the primary may be dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from management.credentials import Login
from management.record import RecordedNode

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
    }


@contextmanager
def connect(node: RecordedNode, login: Login) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit, whose commits wait for no replica.

    Operator's statements must work while the synchronous replicas are away.
    """
    with psycopg.connect(**conninfo(node, login), autocommit=True) as connection:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(STATEMENT_TIMEOUT_MS)])
        connection.execute("SET synchronous_commit = local")
        yield connection


def redirected(source: str, target: RecordedNode, name: str) -> str:
    """A replica's `primary_conninfo` with the same user and secrets, but to another node."""
    parts = conninfo_to_dict(source)
    parts.update(host=target.host, port=str(target.port), application_name=name)
    parts.pop("hostaddr", None)
    return make_conninfo("", **parts)
