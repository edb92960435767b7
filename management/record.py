"""What set-up made, on disk: the nodes, their programs, the synchronous replication asked for."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from management.errors import Refused
from management.host import Host
from management.installation import examine
from management.local_node import LocalNode
from management.state import StateDirectory
from management.synchronous import SynchronousReplication, SyncMode


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """A node of the cluster."""

    name: str
    host: str
    port: int
    data_dir: str | None = None
    """Its data directory on this machine. None: it runs elsewhere."""
    fenced: bool = False
    """It was the primary of a history that a promotion has ended. It must be cloned anew to return."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A switchover that has begun: the old primary may be stopped, and the candidate not yet promoted."""

    old_primary: str
    candidate: str


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """The cluster of a state directory."""

    nodes: tuple[RecordedNode, ...]
    synchronous: SynchronousReplication
    bindir: str | None = None
    node_user: str | None = None
    primary: str | None = None
    """The node that set-up or a promotion last saw as the primary. None before."""
    system_identifier: int | None = None
    """The cluster's. A node with another one is a stranger. None before set-up has seen it."""
    handover: Handover | None = None
    """None: no switchover is under way."""

    def node(self, name: str) -> RecordedNode:
        """The node of this name.

        Raises:
            Refused: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise Refused(f"There is no node {name}; the nodes are {', '.join(node.name for node in self.nodes)}.")

    def local(self, name: str, state: StateDirectory) -> LocalNode | None:
        """The node's files and process on this machine, or None if it runs elsewhere."""
        node = self.node(name)
        if node.data_dir is None:
            return None
        return LocalNode(node.name, node.port, Path(node.data_dir), state.log_dir / f"{node.name}.log")

    def host(self) -> Host:
        """The machine with the programs that made the nodes.

        Raises:
            Refused: The programs are gone.
        """
        installation = examine(Path(self.bindir or ""))
        if installation is None:
            raise Refused(f"The PostgreSQL programs in {self.bindir} are gone. Install them again.")
        return Host(installation, self.node_user)

    def with_fenced(self, names: Collection[str]) -> ClusterRecord:
        """The same cluster with these nodes fenced, and the others as they are."""
        nodes = tuple(replace(node, fenced=node.fenced or node.name in names) for node in self.nodes)
        return replace(self, nodes=nodes)

    def without_fenced(self, names: Collection[str]) -> ClusterRecord:
        """The same cluster, with none of these nodes fenced."""
        nodes = tuple(replace(node, fenced=node.fenced and node.name not in names) for node in self.nodes)
        return replace(self, nodes=nodes)

    def led_by(self, primary: str, system_identifier: int) -> ClusterRecord:
        """The same cluster with this primary. A switchover that was under way is over."""
        return replace(self, primary=primary, system_identifier=system_identifier, handover=None)

    def with_synchronous(self, synchronous: SynchronousReplication) -> ClusterRecord:
        """The same cluster with another synchronous replication."""
        return replace(self, synchronous=synchronous)


def load_record(state: StateDirectory) -> ClusterRecord | None:
    """The record of a state directory, or None before set-up.

    Raises:
        Refused: The file is damaged.
    """
    state.require_owner()
    try:
        raw: dict[str, Any] = json.loads(state.record.read_text())
        return ClusterRecord(
            nodes=tuple(RecordedNode(**node) for node in raw["nodes"]),
            synchronous=SynchronousReplication(
                SyncMode(raw["synchronous"]["mode"]), tuple(raw["synchronous"]["names"])
            ),
            bindir=raw["bindir"],
            node_user=raw["node_user"],
            primary=raw["primary"],
            system_identifier=raw["system_identifier"],
            handover=Handover(**raw["handover"]) if raw.get("handover") else None,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{state.record} is damaged ({error!r}). Restore it; the nodes' data is untouched.") from error


def require_record(state: StateDirectory) -> ClusterRecord:
    """The record of a state directory.

    Raises:
        Refused: There is none yet.
    """
    record = load_record(state)
    if record is None:
        raise Refused(f"{state.root} holds no cluster. Run `manage.py setup_replication` first, or set HIGHLOAD_STATE.")
    return record


def save_record(state: StateDirectory, record: ClusterRecord) -> None:
    """Replace the record as a whole."""
    temporary = state.record.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record), indent=2) + "\n")
    temporary.replace(state.record)
