"""SQL-level steps of set-up, on any reachable PostgreSQL: roles, database, slots, synchronous list.

Each step may be repeated: it changes only what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from management.credentials import Login
from management.synchronous import SynchronousReplication

_EXTENSIONS: Final = ("pg_stat_statements",)
# Shows one kind of file and takes a number: pg_read_file() itself would show the whole data directory.
_TIMELINE_HISTORY: Final = """
CREATE OR REPLACE FUNCTION public.highload_timeline_history(timeline int) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1048576, true) $$;
REVOKE ALL ON FUNCTION public.highload_timeline_history(int) FROM PUBLIC
"""


def ensure_role(
    connection: psycopg.Connection[Any], login: Login, *, attributes: str = "", keep_existing: bool = False
) -> None:
    """Create the role, or give the existing one this password and these attributes, unless it shall be kept.

    The password travels as a SCRAM verifier, so that no log and no statistics view shows it.
    """
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login.role]).fetchone()
    if exists and keep_existing:
        return
    verifier = connection.pgconn.encrypt_password(login.password.encode(), login.role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL(
            "{verb} ROLE {name} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE {attributes} PASSWORD {verifier}"
        ).format(
            verb=sql.SQL("ALTER" if exists else "CREATE"),
            name=sql.Identifier(login.role),
            attributes=sql.SQL(attributes),
            verifier=sql.Literal(verifier.decode()),
        )
    )


def ensure_monitor(connection: psycopg.Connection[Any], login: Login, *, keep_existing: bool = False) -> None:
    """The prober's role: it may see statistics and nothing of the data."""
    ensure_role(connection, login, attributes="NOREPLICATION CONNECTION LIMIT 60", keep_existing=keep_existing)
    connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(login.role)))
    connection.execute(
        sql.SQL("GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO {}").format(sql.Identifier(login.role))
    )
    connection.execute(_TIMELINE_HISTORY)
    connection.execute(
        sql.SQL("GRANT EXECUTE ON FUNCTION public.highload_timeline_history(int) TO {}").format(
            sql.Identifier(login.role)
        )
    )


def ensure_database(connection: psycopg.Connection[Any], *, name: str, owner: str, monitor: str) -> None:
    """The application's database, owned by its role and closed to others. An existing one is left as it is."""
    database = sql.Identifier(name)
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner)))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(monitor)))


def ensure_extensions(connection: psycopg.Connection[Any]) -> list[str]:
    """Create what the server has; return what it lacks."""
    missing = []
    for name in _EXTENSIONS:
        if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
        else:
            missing.append(name)
    return missing


def ensure_slot(connection: psycopg.Connection[Any], name: str) -> None:
    """A physical slot that keeps WAL from now on. Works on a replica too.

    One that has lost its WAL serves nobody any more, and is made anew.
    """
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE slot_name = %s AND wal_status = 'lost' AND NOT active",
        [name],
    )
    if not connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone():
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])


def read_timeline_history(connection: psycopg.Connection[Any], timeline: int) -> str:
    """The history file of a timeline; empty for the first one, which has none."""
    row = connection.execute("SELECT public.highload_timeline_history(%s)", [timeline]).fetchone()
    return row[0] or "" if row else ""


def drop_idle_slots(connection: psycopg.Connection[Any], names: Sequence[str]) -> None:
    """Drop the physical slots of these names that nobody uses."""
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE slot_type = 'physical' AND NOT active AND slot_name = ANY(%s)",
        [list(names)],
    )


def set_parameter(connection: psycopg.Connection[Any], name: str, value: str) -> None:
    """ALTER SYSTEM SET and reload. Takes effect within milliseconds for reloadable parameters."""
    connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    connection.execute("SELECT pg_reload_conf()")


def set_synchronous(connection: psycopg.Connection[Any], synchronous: SynchronousReplication) -> None:
    """Say which replicas must confirm a commit on this node."""
    set_parameter(connection, "synchronous_standby_names", synchronous.setting())


def follow(connection: psycopg.Connection[Any], *, conninfo: str, slot: str) -> None:
    """Point this replica at another source. It reconnects by itself; its readers notice nothing."""
    set_parameter(connection, "primary_slot_name", slot)
    set_parameter(connection, "primary_conninfo", conninfo)


def read_primary_conninfo(connection: psycopg.Connection[Any]) -> str:
    """Where this node streams from; empty if from nowhere."""
    row = connection.execute("SELECT current_setting('primary_conninfo')").fetchone()
    return row[0] if row else ""
