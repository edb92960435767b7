"""Brings local replicas to streaming from one primary, whatever of them exists already."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from management import provisioning
from management.configuration import primary_conninfo
from management.connection import connect
from management.credentials import OperatorCredentials, write_private
from management.errors import OperationError
from management.host import Host
from management.local_node import LocalNode
from management.record import ClusterRecord, RecordedNode
from management.survey import await_streaming
from management.talk import Say

_PASSFILE: Final = "replicator.pgpass"
STREAMING_SECONDS: Final = 60.0
"""How long a replica is given to catch up, unless the operator says otherwise."""


@dataclass(frozen=True, slots=True)
class Built:
    """Which replicas stream now, and why the others do not."""

    streaming: tuple[str, ...]
    failed: dict[str, str]


def build_replicas(
    nodes: Sequence[LocalNode],
    primary: str,
    record: ClusterRecord,
    credentials: OperatorCredentials,
    *,
    say: Say,
    timeout_seconds: float = STREAMING_SECONDS,
) -> Built:
    """Clone, start and point all of them at the primary, then wait until they have caught up with this moment.

    One that fails keeps none of the others from streaming.
    """
    if not nodes:
        return Built((), {})
    host, source = record.host(), record.node(primary)
    passfile = _write_passfile(nodes[0].data_dir.parent, host, credentials)
    builder = _Builder(source, [node.name for node in record.nodes], host, credentials, passfile, say)
    with ThreadPoolExecutor(max_workers=4) as pool:
        problems = dict(zip([node.name for node in nodes], pool.map(builder.try_to_build, nodes), strict=True))
    failed = {name: problem for name, problem in problems.items() if problem}
    wanted = [name for name, problem in problems.items() if not problem]
    streaming = await_streaming(source, wanted, credentials.superuser, timeout_seconds=timeout_seconds)
    for node in nodes:
        if node.name in wanted and node.name not in streaming:
            failed[node.name] = f"does not catch up with {primary}; see {node.log_file}"
    return Built(tuple(node.name for node in nodes if node.name in streaming), failed)


def _write_passfile(home: Path, host: Host, credentials: OperatorCredentials) -> Path:
    """The replicator's password for the WAL receivers: in a file of theirs, because settings can be read."""
    path = home / _PASSFILE
    write_private(path, f"*:*:*:{credentials.replicator.role}:{credentials.replicator.password}\n")
    host.own(path)
    return path


@dataclass(frozen=True, slots=True)
class _Builder:
    primary: RecordedNode
    names: Sequence[str]
    """Of all nodes of the cluster."""
    host: Host
    credentials: OperatorCredentials
    passfile: Path
    say: Say

    def try_to_build(self, node: LocalNode) -> str:
        """Why it failed, or nothing."""
        try:
            self._build(node)
        except (OperationError, psycopg.Error) as error:
            return " ".join(str(error).split())
        return ""

    def _build(self, node: LocalNode) -> None:
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
        if node.pid() is None:
            node.point_at(self.host, conninfo=source, slot=node.name)
        start(node, self.host, say=self.say)
        with connect(RecordedNode(node.name, "127.0.0.1", node.port), self.credentials.superuser) as connection:
            if provisioning.read_primary_conninfo(connection) != source:
                provisioning.follow(connection, conninfo=source, slot=node.name)
            # Those it had as a primary would keep WAL for ever.
            provisioning.drop_idle_slots(connection, self.names)


def start(node: LocalNode, host: Host, *, say: Say) -> None:
    """Start a node that is stopped, and wait for one that starts already.

    Raises:
        OperationError: It does not start.
    """
    if node.pid() is None:
        node.start(host)
        say(f"{node.name} started on 127.0.0.1:{node.port}")
    else:
        node.await_ready()


def put_aside(node: LocalNode, *, say: Say) -> None:
    """Stop a node and move its data away, so that it is cloned anew. Nothing is deleted: it may hold lost commits."""
    node.stop()
    if node.data_dir.exists():
        aside = node.data_dir.with_name(f"{node.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        node.data_dir.rename(aside)
        say(f"{node.name}: its old data is in {aside}; delete it when you are sure that you need nothing of it")
