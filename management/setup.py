"""Sets up a primary and its replicas on this machine, and continues where an earlier set-up stopped.

Nothing that exists is initialised again: each step looks first.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from management import provisioning
from management.configuration import PG_HBA_CONF, POSTGRESQL_CONF, primary_conninfo
from management.connection import connect
from management.credentials import (
    ADMIN_EMAIL,
    MONITOR,
    REPLICATOR,
    SUPERUSER,
    Login,
    OperatorCredentials,
    generate_secret,
    operator_credentials,
    read_env_file,
    write_private,
    write_secret_file,
)
from management.errors import Incomplete, Refused
from management.host import Host, prepare_home
from management.installation import find_installation
from management.local_node import LocalNode
from management.ports import require_free_port
from management.record import ClusterRecord, RecordedNode, load_record, save_record
from management.state import StateDirectory
from management.survey import await_streaming
from management.synchronous import SynchronousReplication, SyncMode

Say = Callable[[str], None]
DATABASE: Final = "highload"
APPLICATION: Final = "highload"
PASSFILE: Final = "replicator.pgpass"
REPLICAS_MAX: Final = 8
BASE_PORT: Final = 5501
_STREAMING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSetup:
    """What is wanted. None: two replicas, port 5501 on and `first` for a new cluster; as it is for an existing one."""

    replicas: int | None = None
    base_port: int | None = None
    sync: SyncMode | None = None
    reclone: str | None = None
    """A replica or fenced node whose data is put aside and taken anew from the primary."""


def setup_local(wanted: LocalSetup, state: StateDirectory, *, say: Say) -> ClusterRecord:
    """Bring the cluster of a state directory up: initialise what is missing, start what is stopped.

    Raises:
        Refused: A port is taken, the programs are missing, or the files show two primaries.
        OperationError: A PostgreSQL program failed.
        Incomplete: A replica does not stream.
    """
    with state.lock():
        return _setup(wanted, state, say)


def stop_local(record: ClusterRecord, state: StateDirectory, *, say: Say) -> None:
    """Stop every local node: the primary first, so that its replicas receive all it wrote.

    Raises:
        OperationError: A node does not stop.
    """
    with state.lock():
        nodes = [node for node in (record.local(each.name, state) for each in record.nodes) if node]
        for node in sorted(nodes, key=lambda node: node.is_standby):
            if node.stop():
                say(f"{node.name} stopped")


def _setup(wanted: LocalSetup, state: StateDirectory, say: Say) -> ClusterRecord:
    record = _plan(wanted, load_record(state), state)
    host = record.host()
    _write_secrets(record, state)
    credentials = operator_credentials(state)
    if wanted.reclone is not None:
        record = _put_aside(wanted.reclone, record, state, say)
    nodes = [node for node in (record.local(each.name, state) for each in record.nodes if not each.fenced) if node]
    for node in nodes:
        if node.pid() is None:
            require_free_port(node.port, purpose=f"node {node.name}", option="--base-port")
    save_record(state, record)
    if not any(node.is_initialised for node in nodes):
        _initialise_primary(nodes[0], host, credentials, say)
    primary = _primary_of(nodes)
    _start(primary, host, say)
    _provision(record, record.node(primary.name), credentials, state)
    record = _fence_old_primaries(nodes, primary, record, host, state, say)
    replicas = [node for node in nodes if node is not primary and not record.node(node.name).fenced]
    passfile = _write_passfile(primary.data_dir.parent, host, credentials)
    builder = _ReplicaBuilder(record.node(primary.name), host, credentials, passfile, say)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(builder.build, replicas))
    names = [node.name for node in replicas]
    _require_streaming(record.node(primary.name), names, credentials)
    record = record.with_synchronous(_synchronous(wanted.sync, record.synchronous, names))
    with connect(record.node(primary.name), credentials.superuser) as connection:
        provisioning.set_synchronous(connection, record.synchronous)
    save_record(state, record)
    _tell_fenced(record, say)
    return record


def _plan(wanted: LocalSetup, existing: ClusterRecord | None, state: StateDirectory) -> ClusterRecord:
    """The record to work towards: the existing one with more nodes if asked, or a new one."""
    replicas = wanted.replicas if wanted.replicas is not None else (len(existing.nodes) - 1 if existing else 2)
    if not 0 <= replicas <= REPLICAS_MAX:
        raise Refused(f"{replicas} replicas are not possible here; choose 0 to {REPLICAS_MAX}.")
    if existing is None:
        host, home = prepare_home(find_installation(), state)
        base = ClusterRecord(
            nodes=(),
            synchronous=SynchronousReplication(wanted.sync or SyncMode.FIRST),
            bindir=str(host.installation.bindir),
            node_user=host.user,
        )
        first_port = BASE_PORT if wanted.base_port is None else wanted.base_port
    else:
        base, home = existing, _home(existing)
        first_port = existing.nodes[0].port
        if wanted.base_port not in {None, first_port}:
            raise Refused(f"The cluster in {state.root} uses port {first_port} on; --base-port cannot change it.")
        if replicas < len(existing.nodes) - 1:
            raise Refused(
                f"The cluster in {state.root} has {len(existing.nodes) - 1} replicas; --replicas {replicas} "
                "would remove some, which set-up never does."
            )
    added = tuple(
        RecordedNode(f"pg{index + 1}", "127.0.0.1", first_port + index, str(home / f"pg{index + 1}"))
        for index in range(len(base.nodes), replicas + 1)
    )
    return replace(base, nodes=base.nodes + added)


def _home(record: ClusterRecord) -> Path:
    if any(node.data_dir is None for node in record.nodes):
        raise Refused("This cluster's nodes run elsewhere; use `manage.py setup_replication --existing`.")
    return Path(str(record.nodes[0].data_dir)).parent


def _write_secrets(record: ClusterRecord, state: StateDirectory) -> None:
    """Generate what is missing and keep what is there."""
    if not state.operator_env.exists() and any(Path(str(node.data_dir)).exists() for node in record.nodes):
        raise Refused(f"{state.operator_env} is missing, but the nodes' data exists. Restore the file from a backup.")
    operator = {
        "HIGHLOAD_OPERATOR_USER": SUPERUSER,
        "HIGHLOAD_OPERATOR_PASSWORD": generate_secret(),
        "HIGHLOAD_REPLICATOR_USER": REPLICATOR,
        "HIGHLOAD_REPLICATOR_PASSWORD": generate_secret(),
        "HIGHLOAD_SEED_PASSWORD": generate_secret(),
        "HIGHLOAD_ADMIN_EMAIL": ADMIN_EMAIL,
        "HIGHLOAD_ADMIN_PASSWORD": generate_secret(),
    }
    write_secret_file(
        state.operator_env,
        {**operator, **read_env_file(state.operator_env)},
        heading="Operator's credentials, and the passwords of the seeded users and of the admin. Keep private.",
    )
    application = {
        "HIGHLOAD_SECRET_KEY": generate_secret() + generate_secret(),
        "HIGHLOAD_DB_NAME": DATABASE,
        "HIGHLOAD_DB_USER": APPLICATION,
        "HIGHLOAD_DB_PASSWORD": generate_secret(),
        "HIGHLOAD_MONITOR_USER": MONITOR,
        "HIGHLOAD_MONITOR_PASSWORD": generate_secret(),
    }
    nodes = ",".join(f"{node.name}={node.host}:{node.port}" for node in record.nodes)
    write_secret_file(
        state.application_env,
        {**application, **read_env_file(state.application_env), "HIGHLOAD_NODES": nodes},
        heading="The application's settings, read at start. A real environment variable wins. Keep private.",
    )


def _put_aside(name: str, record: ClusterRecord, state: StateDirectory, say: Say) -> ClusterRecord:
    """Move a node's data away, so that it is cloned anew. Nothing is deleted: it may hold lost commits.

    Raises:
        Refused: It is the primary.
    """
    node = record.local(name, state)
    if node is None or not (node.is_standby or record.node(name).fenced):
        raise Refused(f"{name} is the primary by its files; only a replica or a fenced node can be cloned anew.")
    node.stop()
    aside = node.data_dir.with_name(f"{name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    node.data_dir.rename(aside)
    say(f"{name}: its old data is in {aside}; delete it when you are sure that you need nothing of it")
    kept = tuple(replace(each, fenced=False) if each.name == name else each for each in record.nodes)
    return replace(record, nodes=kept)


def _initialise_primary(node: LocalNode, host: Host, credentials: OperatorCredentials, say: Say) -> None:
    node.initialise(
        host,
        superuser=credentials.superuser.role,
        password=credentials.superuser.password,
        configuration=POSTGRESQL_CONF,
        access=PG_HBA_CONF,
    )
    say(f"{node.name} initialised as the primary (PostgreSQL {host.installation.major})")


def _primary_of(nodes: list[LocalNode]) -> LocalNode:
    """The one whose files say primary, of the newest timeline.

    Raises:
        Refused: None says so, or two on one timeline do.
    """
    writable = [node for node in nodes if node.is_initialised and not node.is_standby]
    newest = max((node.newest_timeline() for node in writable), default=0)
    leading = [node for node in writable if node.newest_timeline() == newest]
    if not leading:
        raise Refused("No node is a primary by its files. Promote one: `manage.py promote_replica`.")
    if len(leading) > 1:
        raise Refused(
            f"{' and '.join(node.name for node in leading)} are both primaries of timeline {newest} by their files. "
            "Nothing was started. Find out which one has the newest data before you start either."
        )
    return leading[0]


def _start(node: LocalNode, host: Host, say: Say) -> None:
    if node.pid() is None:
        node.start(host)
        say(f"{node.name} started on 127.0.0.1:{node.port}")


def _provision(
    record: ClusterRecord, primary: RecordedNode, credentials: OperatorCredentials, state: StateDirectory
) -> None:
    application = read_env_file(state.application_env)
    with connect(primary, credentials.superuser) as connection:
        provisioning.ensure_role(
            connection,
            credentials.replicator,
            attributes="REPLICATION",
        )
        owner = Login(application["HIGHLOAD_DB_USER"], application["HIGHLOAD_DB_PASSWORD"])
        provisioning.ensure_role(connection, owner, attributes="NOREPLICATION")
        monitor = Login(application["HIGHLOAD_MONITOR_USER"], application["HIGHLOAD_MONITOR_PASSWORD"])
        provisioning.ensure_monitor(connection, monitor)
        provisioning.ensure_database(
            connection, name=application["HIGHLOAD_DB_NAME"], owner=owner.role, monitor=monitor.role
        )
        provisioning.ensure_extensions(connection)
        for node in record.nodes:
            if node.name != primary.name and not node.fenced:
                provisioning.ensure_slot(connection, node.name)


def _fence_old_primaries(
    nodes: list[LocalNode], primary: LocalNode, record: ClusterRecord, host: Host, state: StateDirectory, say: Say
) -> ClusterRecord:
    """A node that still thinks it is the primary of an older timeline is not started, and cannot be by accident."""
    old = [node for node in nodes if node is not primary and node.is_initialised and not node.is_standby]
    for node in old:
        node.fence(host)
        say(f"{node.name} was the primary of an older timeline: fenced, not started")
    if old:
        record = record.with_fenced({node.name for node in old})
        save_record(state, record)
    return record


def _write_passfile(home: Path, host: Host, credentials: OperatorCredentials) -> Path:
    """The replicator's password for the WAL receivers: in a file of theirs, because settings can be read."""
    path = home / PASSFILE
    write_private(path, f"*:*:*:{credentials.replicator.role}:{credentials.replicator.password}\n")
    host.own(path)
    return path


@dataclass(frozen=True, slots=True)
class _ReplicaBuilder:
    """Clones, starts and points replicas at one primary."""

    primary: RecordedNode
    host: Host
    credentials: OperatorCredentials
    passfile: Path
    say: Say

    def build(self, node: LocalNode) -> None:
        """Bring one replica to streaming from the primary, whatever of it exists already."""
        source = primary_conninfo(
            host=self.primary.host,
            port=self.primary.port,
            user=self.credentials.replicator.role,
            passfile=str(self.passfile),
            name=node.name,
        )
        if not node.is_initialised:
            node.clone(self.host, conninfo=source, slot=node.name, passfile=self.passfile)
            self.say(f"{node.name} cloned from {self.primary.name}")
        _start(node, self.host, self.say)
        recorded = RecordedNode(node.name, "127.0.0.1", node.port)
        with connect(recorded, self.credentials.superuser) as connection:
            if provisioning.read_primary_conninfo(connection) != source:
                provisioning.follow(connection, conninfo=source, slot=node.name)


def _require_streaming(primary: RecordedNode, names: list[str], credentials: OperatorCredentials) -> None:
    streaming = await_streaming(primary, names, credentials.superuser, timeout_seconds=_STREAMING_SECONDS)
    missing = sorted(set(names) - set(streaming))
    if missing:
        raise Incomplete(
            f"{', '.join(missing)} did not begin to stream from {primary.name} within {_STREAMING_SECONDS:.0f} s. "
            "See the node's log, then run `manage.py setup_replication` again."
        )


def _synchronous(wanted: SyncMode | None, current: SynchronousReplication, names: list[str]) -> SynchronousReplication:
    """Keep the replicas that confirm now, unless another mode is wanted or they are no replicas any more."""
    if wanted in {None, current.mode} and current.names and set(current.names) <= set(names):
        return current
    return SynchronousReplication.choose(wanted or current.mode, names)


def _tell_fenced(record: ClusterRecord, say: Say) -> None:
    for node in record.nodes:
        if node.fenced:
            say(
                f"{node.name} stays stopped: it was the primary before a promotion. To clone it anew, keeping its old "
                f"data beside: `manage.py setup_replication --reclone {node.name}`"
            )
