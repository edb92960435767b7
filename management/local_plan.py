"""Decides what a local cluster shall consist of, and by its files which node is its primary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from management.errors import Refused
from management.host import prepare_home
from management.installation import find_installation
from management.local_node import LocalNode
from management.record import ClusterRecord, RecordedNode
from management.state import StateDirectory
from management.synchronous import SynchronousReplication, SyncMode

REPLICAS_MAX: Final = 8
REPLICAS: Final = 2
BASE_PORT: Final = 5501


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSetup:
    """What is wanted. None: two replicas, port 5501 on and `quorum` for a new cluster; as it is for an existing one."""

    replicas: int | None = None
    base_port: int | None = None
    sync: SyncMode | None = None
    reclone: str | None = None
    """A replica or fenced node whose data is put aside and taken anew from the primary."""


@dataclass(frozen=True, slots=True)
class SetupStep:
    """What set-up will do with one node."""

    node: str
    step: str
    """In words."""


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """What a set-up would do."""

    directory: str
    sync: SyncMode
    steps: tuple[SetupStep, ...]


def preview_local(wanted: LocalSetup, existing: ClusterRecord | None, state: StateDirectory) -> SetupPlan:
    """What set-up would do now, by the files and processes. Changes nothing.

    Raises:
        Refused: As `plan_local`.
    """
    _require_possible(wanted)
    if existing is None:
        find_installation()
        record = _with_wish(wanted, ClusterRecord((), SynchronousReplication(SyncMode.QUORUM)), state.root / "nodes")
    else:
        record = plan_local(wanted, existing, state)
    if wanted.reclone is not None:
        record.node(wanted.reclone)
    nodes = [node for node in (record.local(each.name, state) for each in record.nodes) if node]
    primary = primary_by_files([node for node in nodes if not record.node(node.name).fenced])
    first = nodes[0].name if not any(node.is_initialised for node in nodes) else None
    steps = tuple(
        SetupStep(node.name, _step(node, wanted, is_fenced=record.node(node.name).fenced, is_first=node.name == first))
        for node in sorted(nodes, key=lambda node: node is not primary)
    )
    return SetupPlan(str(state.root), wanted.sync or record.synchronous.mode, steps)


def _step(node: LocalNode, wanted: LocalSetup, *, is_fenced: bool, is_first: bool) -> str:
    if node.name == wanted.reclone:
        return "put its data aside, clone it from the primary"
    if is_fenced:
        return "stays stopped: it is fenced"
    if is_first:
        return f"initialise as the primary on 127.0.0.1:{node.port}"
    if not node.is_initialised:
        return f"clone from the primary to 127.0.0.1:{node.port}"
    return "runs; check that it follows" if node.pid() is not None else f"start on 127.0.0.1:{node.port}"


def plan_local(wanted: LocalSetup, existing: ClusterRecord | None, state: StateDirectory) -> ClusterRecord:
    """The record to work towards: the existing one, with more nodes if asked, or a new one.

    Raises:
        Refused: The wish contradicts what exists, or is impossible.
    """
    _require_possible(wanted)
    if existing is None:
        return _new(wanted, state)
    home = _home(existing, state)
    first_port = existing.nodes[0].port
    if wanted.base_port not in {None, first_port}:
        raise Refused(f"The cluster in {state.root} uses port {first_port} on; --base-port cannot change it.")
    has = len(existing.nodes) - 1
    if wanted.replicas is not None and wanted.replicas < has:
        raise Refused(
            f"The cluster in {state.root} has {has} replicas; --replicas {wanted.replicas} would remove some, "
            "which set-up never does."
        )
    return _with_nodes(existing, wanted.replicas if wanted.replicas is not None else has, first_port, home)


def _require_possible(wanted: LocalSetup) -> None:
    if wanted.replicas is not None and not 0 <= wanted.replicas <= REPLICAS_MAX:
        raise Refused(f"{wanted.replicas} replicas are not possible here; choose 0 to {REPLICAS_MAX}.")


def primary_by_files(nodes: Sequence[LocalNode]) -> LocalNode | None:
    """The one whose files say primary, of the newest timeline; None if none says so.

    Raises:
        Refused: Two of one timeline say so.
    """
    writable = [node for node in nodes if node.is_initialised and not node.is_standby]
    newest = max((node.newest_timeline() for node in writable), default=0)
    leading = [node for node in writable if node.newest_timeline() == newest]
    if len(leading) > 1:
        raise Refused(
            f"{' and '.join(node.name for node in leading)} are both primaries of timeline {newest} by their files. "
            "Nothing was started. Find out which one has the newest data before you start either."
        )
    return leading[0] if leading else None


def _new(wanted: LocalSetup, state: StateDirectory) -> ClusterRecord:
    host, home = prepare_home(find_installation(), state)
    empty = ClusterRecord(
        nodes=(),
        synchronous=SynchronousReplication(wanted.sync or SyncMode.QUORUM),
        bindir=str(host.installation.bindir),
        node_user=host.user,
    )
    return _with_wish(wanted, empty, home)


def _with_wish(wanted: LocalSetup, empty: ClusterRecord, home: Path) -> ClusterRecord:
    replicas = REPLICAS if wanted.replicas is None else wanted.replicas
    return _with_nodes(empty, replicas, BASE_PORT if wanted.base_port is None else wanted.base_port, home)


def _with_nodes(record: ClusterRecord, replicas: int, first_port: int, home: Path) -> ClusterRecord:
    added = tuple(
        RecordedNode(f"pg{index + 1}", "127.0.0.1", first_port + index, str(home / f"pg{index + 1}"))
        for index in range(len(record.nodes), replicas + 1)
    )
    return replace(record, nodes=record.nodes + added)


def _home(record: ClusterRecord, state: StateDirectory) -> Path:
    if not record.nodes:
        raise Refused(f"{state.record} is damaged: it names no nodes. Restore it; the nodes' data is untouched.")
    if any(node.data_dir is None for node in record.nodes):
        raise Refused("This cluster's nodes run elsewhere; use `manage.py setup_replication --existing`.")
    return Path(str(record.nodes[0].data_dir)).parent
