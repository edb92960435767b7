"""Sets up a primary and its replicas on this machine, and continues where an earlier set-up stopped.

Nothing that exists is initialised again: each step looks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from management import provisioning
from management.configuration import PG_HBA_CONF, POSTGRESQL_CONF
from management.connection import connect
from management.credentials import Login, OperatorCredentials, operator_credentials, read_env_file
from management.errors import Incomplete, OperationError, Refused
from management.host import Host
from management.local_node import STOP_IMMEDIATE, LocalNode
from management.local_plan import LocalSetup, plan_local, primary_by_files
from management.local_secrets import ensure_secrets
from management.ports import require_free_port
from management.record import ClusterRecord, RecordedNode, load_record, save_record
from management.replicas import STREAMING_SECONDS, build_replicas, put_aside, start
from management.state import StateDirectory
from management.synchronous import SynchronousReplication
from management.talk import Say

_RECLONE: Final = "manage.py setup_replication --reclone"


def setup_local(
    wanted: LocalSetup, state: StateDirectory, *, say: Say, timeout_seconds: float = STREAMING_SECONDS
) -> ClusterRecord:
    """Bring the cluster of a state directory up: initialise what is missing, start what is stopped.

    Raises:
        Refused: A port is taken, programs or secrets are missing, or the files show no primary or two.
        OperationError: A PostgreSQL program failed.
        Incomplete: The primary runs, and a replica does not stream.
    """
    with state.lock():
        return _setup(wanted, state, say, timeout_seconds)


def stop_local(record: ClusterRecord, state: StateDirectory, *, say: Say) -> None:
    """Stop every local node: the primary first, so that its replicas receive all it wrote.

    Raises:
        OperationError: A node does not stop.
    """
    with state.lock():
        for node in sorted(_local_nodes(record, state), key=lambda node: node.is_standby):
            if node.stop():
                say(f"{node.name} stopped")


def _setup(wanted: LocalSetup, state: StateDirectory, say: Say, timeout_seconds: float) -> ClusterRecord:
    record = plan_local(wanted, load_record(state), state)
    host = record.host()
    nodes = _local_nodes(record, state)
    for node in nodes:
        if node.data_dir.exists() and not node.is_initialised:
            raise Refused(f"{node.data_dir} exists already and is no node; it is never overwritten. Move it away.")
    ensure_secrets(record, state)
    credentials = operator_credentials(state)
    if wanted.reclone is not None:
        record.node(wanted.reclone)
    for node in nodes:
        if node.pid() is None:
            require_free_port(node.port, purpose=f"node {node.name}", option="--base-port")
    save_record(state, record)
    if not any(node.is_initialised for node in nodes):
        _initialise_primary(nodes[0], host, credentials, say)
    primary = _find_primary(nodes, record, host, say)
    record = _fence_old_primaries(nodes, primary, record, host, say)
    save_record(state, record)
    start(primary, host, say=say)
    if wanted.reclone is not None:
        record = _put_aside(wanted.reclone, primary, record, state, say)
    _provision(record, record.node(primary.name), credentials, state)
    record = record.led_by(primary.name, _system_identifier(record.node(primary.name), credentials))
    ensure_secrets(record, state)
    replicas = [node for node in nodes if node is not primary and not record.node(node.name).fenced]
    built = build_replicas(replicas, primary.name, record, credentials, say=say, timeout_seconds=timeout_seconds)
    record = record.with_synchronous(_synchronous(wanted, record.synchronous, built.streaming))
    with connect(record.node(primary.name), credentials.superuser) as connection:
        provisioning.set_synchronous(connection, record.synchronous)
    save_record(state, record)
    for each in record.nodes:
        if each.fenced:
            say(f"{each.name} stays stopped: it was a primary before a promotion.")
            say(f"To clone it anew: `{_RECLONE} {each.name}`")
    if built.failed:
        problems = "; ".join(f"{name}: {problem}" for name, problem in built.failed.items())
        raise Incomplete(
            f"The primary {primary.name} runs, but not every replica follows it. {problems}. "
            f"Run this again, or clone the replica anew: `{_RECLONE} NODE`."
        )
    return record


def _local_nodes(record: ClusterRecord, state: StateDirectory) -> list[LocalNode]:
    return [node for node in (record.local(each.name, state) for each in record.nodes) if node]


def _initialise_primary(node: LocalNode, host: Host, credentials: OperatorCredentials, say: Say) -> None:
    node.initialise(
        host,
        superuser=credentials.superuser.role,
        password=credentials.superuser.password,
        configuration=POSTGRESQL_CONF,
        access=PG_HBA_CONF,
    )
    say(f"{node.name} initialised as the primary (PostgreSQL {host.installation.major})")


def _find_primary(nodes: Sequence[LocalNode], record: ClusterRecord, host: Host, say: Say) -> LocalNode:
    """The primary by the files; without one, start the replicas, so that one of them can be promoted.

    Raises:
        Refused: There are two.
        Incomplete: There is none; the replicas were started.
    """
    able = [node for node in nodes if not record.node(node.name).fenced]
    primary = primary_by_files(able)
    if primary is not None:
        return primary
    for node in able:
        if node.is_initialised:
            try:
                start(node, host, say=say)
            except OperationError as error:
                say(str(error))
    raise Incomplete(
        "No node is a primary by its files. The replicas that could be started run: "
        "`manage.py promote_replica` makes one of them the primary."
    )


def _put_aside(name: str, primary: LocalNode, record: ClusterRecord, state: StateDirectory, say: Say) -> ClusterRecord:
    """Move a node's data away, so that it is cloned anew. Nothing is deleted: it may hold lost commits.

    Raises:
        Refused: It is the primary.
    """
    node = record.local(name, state)
    if node is None or node.name == primary.name:
        raise Refused(f"{name} is the primary; only a replica or a fenced node can be cloned anew.")
    put_aside(node, say=say)
    return record.without_fenced({name})


def _fence_old_primaries(
    nodes: Sequence[LocalNode], primary: LocalNode, record: ClusterRecord, host: Host, say: Say
) -> ClusterRecord:
    """A node that still thinks it is the primary of an older timeline must not run, nor start by accident."""
    old = {node.name for node in nodes if node is not primary and node.is_initialised and not node.is_standby}
    for node in nodes:
        if node.name in old:
            node.fence(host)
            say(f"{node.name} was the primary of an older timeline: fenced")
        if (node.name in old or record.node(node.name).fenced) and node.stop(how=STOP_IMMEDIATE):
            say(f"{node.name} is fenced, but was running: stopped")
    return record.with_fenced(old)


def _system_identifier(primary: RecordedNode, credentials: OperatorCredentials) -> int:
    with connect(primary, credentials.superuser) as connection:
        row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    if row is None:
        raise OperationError(f"{primary.name} does not say which cluster it is.")
    return int(row[0])


def _provision(
    record: ClusterRecord, primary: RecordedNode, credentials: OperatorCredentials, state: StateDirectory
) -> None:
    application = read_env_file(state.application_env)
    owner = Login(application["HIGHLOAD_DB_USER"], application["HIGHLOAD_DB_PASSWORD"])
    monitor = Login(application["HIGHLOAD_MONITOR_USER"], application["HIGHLOAD_MONITOR_PASSWORD"])
    with connect(primary, credentials.superuser) as connection:
        provisioning.ensure_role(connection, credentials.replicator, attributes="REPLICATION")
        provisioning.ensure_role(connection, owner, attributes="NOREPLICATION")
        provisioning.ensure_monitor(connection, monitor)
        provisioning.ensure_database(
            connection, name=application["HIGHLOAD_DB_NAME"], owner=owner.role, monitor=monitor.role
        )
        provisioning.ensure_extensions(connection)
        for node in record.nodes:
            if node.name != primary.name and not node.fenced:
                provisioning.ensure_slot(connection, node.name)


def _synchronous(
    wanted: LocalSetup, current: SynchronousReplication, streaming: tuple[str, ...]
) -> SynchronousReplication:
    """Of those that stream, in the order of before; a replica that is away would only hold up every commit."""
    known = [name for name in current.names if name in streaming]
    new = [name for name in streaming if name not in known]
    return SynchronousReplication.choose(wanted.sync or current.mode, [*known, *new])
