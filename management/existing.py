"""Sets up replication between servers that exist: what SQL can do is done, what needs the host is printed.

The nodes are those of HIGHLOAD_NODES. Needs a superuser's login on each. Restarts nothing, deletes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from management import provisioning
from management.connection import connect, redirected
from management.credentials import Login, OperatorCredentials
from management.errors import Refused
from management.installation import OLDEST_MAJOR
from management.patroni import require_no_patroni
from management.record import ClusterRecord, RecordedNode, load_record, save_record
from management.state import StateDirectory
from management.survey import Survey, await_streaming, read_senders, take_survey
from management.synchronous import SynchronousReplication, SyncMode
from management.talk import Say

STREAMING_SECONDS: Final = 10.0
# PostgreSQL docs, Hot Standby: on a replica none of these may be lower than on the primary.
_NOT_LOWER: Final = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


@dataclass(frozen=True, slots=True)
class ExistingSetup:
    """What is wanted of existing servers."""

    nodes: tuple[RecordedNode, ...]
    credentials: OperatorCredentials
    application: Login
    monitor: Login
    database: str
    sync: SyncMode | None
    """None leaves the primary's synchronous list as it is."""
    timeout_seconds: float = STREAMING_SECONDS
    """For the replicas to catch up."""
    dry_run: bool = False
    """Look, and say what is left to do; change nothing."""


@dataclass(frozen=True, slots=True)
class ExistingResult:
    """What was found and done."""

    primary: str
    streaming: tuple[str, ...]
    to_do: tuple[str, ...]
    """Lines for the operator, for the nodes that are no replicas of this primary yet."""


def setup_existing(wanted: ExistingSetup, state: StateDirectory, *, say: Say) -> ExistingResult:
    """Prepare the primary, adopt the replicas that stream, and say what is left to do on the other hosts.

    Raises:
        Refused: There is not exactly one primary, or its settings do not allow replication.
    """
    with state.lock():
        return _setup(wanted, state, say)


def _setup(wanted: ExistingSetup, state: StateDirectory, say: Say) -> ExistingResult:
    before = load_record(state)
    if before is not None and any(node.data_dir for node in before.nodes):
        raise Refused(f"{state.root} holds a local cluster. Use another directory: set HIGHLOAD_STATE.")
    record = _record(wanted, before)
    survey = take_survey(record, wanted.credentials.superuser, state)
    primary = record.node(_only_primary(survey))
    others = [node for node in wanted.nodes if node.name != primary.name]
    replicas = [node for node in others if node.name in survey.replicas]
    require_no_patroni(survey, wanted.credentials.superuser)
    with connect(primary, wanted.credentials.superuser) as connection:
        _require_settings(connection, primary, len(others))
        for node in replicas:
            _require_not_lower(connection, node, primary, wanted.credentials)
        if wanted.dry_run:
            senders = read_senders(primary, wanted.credentials.superuser)
            return _result(primary, others, [each.name for each in senders if each.name in survey.replicas], wanted)
        _provision(connection, wanted, replicas, say)
    for node in replicas:
        _adopt(node, primary, wanted.credentials)
    streaming = await_streaming(
        primary,
        [node.name for node in replicas],
        wanted.credentials.superuser,
        timeout_seconds=wanted.timeout_seconds,
    )
    # One that was fenced and has replayed what is written now was cloned anew.
    record = record.without_fenced(streaming)
    if wanted.sync is not None:
        record = record.with_synchronous(SynchronousReplication.choose(wanted.sync, streaming))
        with connect(primary, wanted.credentials.superuser) as connection:
            provisioning.set_synchronous(connection, record.synchronous)
        say(f"{primary.name}: synchronous list is now {record.synchronous.setting() or 'empty'}")
    identifier = survey.system_identifier
    save_record(state, record.led_by(primary.name, identifier) if identifier else record)
    return _result(primary, others, streaming, wanted)


def _result(
    primary: RecordedNode, others: Sequence[RecordedNode], streaming: Sequence[str], wanted: ExistingSetup
) -> ExistingResult:
    missing = [node for node in others if node.name not in streaming]
    to_do = tuple(line for node in missing for line in _clone_lines(node, primary, wanted))
    return ExistingResult(primary.name, tuple(streaming), to_do)


def _record(wanted: ExistingSetup, before: ClusterRecord | None) -> ClusterRecord:
    """The wanted nodes, with what is known of them from before."""
    if before is None:
        return ClusterRecord(wanted.nodes, SynchronousReplication(SyncMode.OFF))
    fenced = {node.name for node in before.nodes if node.fenced}
    return replace(before, nodes=wanted.nodes).with_fenced(fenced)


def _only_primary(survey: Survey) -> str:
    # Servers that are not replicas of each other yet have different system identifiers: all of them
    # accept writes, and nothing but the operator knows which one has the data.
    if len(survey.writable) == 1 and survey.primary is not None:
        return survey.primary
    if len(survey.writable) == 1:
        raise Refused(
            f"{survey.writable[0]} accepts writes, but on an older timeline than another node follows "
            f"({survey.timeline}): it is a primary of before. Stop it, and start the newer one."
        )
    found = "; ".join(
        f"{name}: {each.status.role if each.status else each.answer}" for name, each in survey.nodes.items()
    )
    raise Refused(
        f"There must be exactly one primary, but {len(survey.writable)} nodes accept writes ({found}). "
        "Stop the servers that shall become replicas: they are cloned from the primary."
    )


def _require_settings(connection: psycopg.Connection[Any], primary: RecordedNode, replicas: int) -> None:
    def setting(name: str) -> str:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        return str(row[0]) if row else ""

    wrong = []
    # server_version_num is the major version times 10000 plus the minor one.
    if int(setting("server_version_num")) < OLDEST_MAJOR * 10_000:
        raise Refused(f"{primary.name} is PostgreSQL {setting('server_version')}; {OLDEST_MAJOR} or newer is needed.")
    if setting("wal_level") == "minimal":
        wrong.append("ALTER SYSTEM SET wal_level = 'replica';")
    for name in ("max_wal_senders", "max_replication_slots"):
        if int(setting(name)) < 2 * replicas:
            wrong.append(f"ALTER SYSTEM SET {name} = {max(10, 2 * replicas)};")
    if setting("wal_log_hints") == "off" and setting("data_checksums") == "off":
        wrong.append("ALTER SYSTEM SET wal_log_hints = 'on';")
    if wrong:
        raise Refused(f"{primary.name} cannot serve replicas yet. Run there, then restart it: {' '.join(wrong)}")


def _require_not_lower(
    connection: psycopg.Connection[Any], node: RecordedNode, primary: RecordedNode, credentials: OperatorCredentials
) -> None:
    """A replica stops replaying when the primary uses more than it has room for."""
    query = "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY(%s)"
    needed = dict(connection.execute(query, [list(_NOT_LOWER)]).fetchall())
    with connect(node, credentials.superuser) as replica:
        own = dict(replica.execute(query, [list(_NOT_LOWER)]).fetchall())
    lower = [f"ALTER SYSTEM SET {name} = {needed[name]};" for name in _NOT_LOWER if own[name] < needed[name]]
    if lower:
        raise Refused(f"{node.name} has less than {primary.name}. Run there, then restart it: {' '.join(lower)}")


def _provision(
    connection: psycopg.Connection[Any], wanted: ExistingSetup, replicas: list[RecordedNode], say: Say
) -> None:
    # Roles that exist are somebody's: their rights and passwords are left alone.
    provisioning.ensure_role(connection, wanted.credentials.replicator, attributes="REPLICATION", keep_existing=True)
    provisioning.ensure_role(connection, wanted.application, attributes="NOREPLICATION", keep_existing=True)
    provisioning.ensure_monitor(connection, wanted.monitor, keep_existing=True)
    provisioning.ensure_database(
        connection, name=wanted.database, owner=wanted.application.role, monitor=wanted.monitor.role
    )
    # Only for those that are replicas: a slot that nobody uses keeps WAL for ever.
    for node in replicas:
        provisioning.ensure_slot(connection, node.name)
    say("roles, database and replication slots are there")


def _adopt(node: RecordedNode, primary: RecordedNode, credentials: OperatorCredentials) -> None:
    """Make a streaming replica use its own slot and name; its credentials stay as they are."""
    with connect(node, credentials.superuser) as connection:
        source = provisioning.read_primary_conninfo(connection)
        wanted = redirected(source, primary, node.name)
        slot = connection.execute("SELECT current_setting('primary_slot_name')").fetchone()
        if conninfo_to_dict(source) != conninfo_to_dict(wanted) or slot != (node.name,):
            provisioning.follow(connection, conninfo=wanted, slot=node.name)


def _clone_lines(node: RecordedNode, primary: RecordedNode, wanted: ExistingSetup) -> list[str]:
    replicator = wanted.credentials.replicator.role
    source = f"host={primary.host} port={primary.port} user={replicator} application_name={node.name}"
    return [
        f"# {node.name} ({node.host}:{node.port}) is no replica of {primary.name} yet.",
        f"# 1. On {primary.name}, in pg_hba.conf, then SELECT pg_reload_conf():",
        f"host replication {replicator} {node.host}/32 scram-sha-256",
        f"# 2. On {node.host}, as the user of PostgreSQL, with the server stopped and $PGDATA empty:",
        f'pg_basebackup --pgdata="$PGDATA" --dbname="{source}" --create-slot --slot={node.name} --write-recovery-conf '
        "--wal-method=stream --checkpoint=fast --progress",
        "# 3. Start it, then run this command again.",
    ]
