"""Brings a node that was fenced, stopped or left behind back as a replica. Never by just starting it.

What it wrote and nobody else has is kept beside its data before anything is overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg

from management import provisioning
from management.connection import connect
from management.control_data import ControlData, read_control_data
from management.errors import Incomplete, OperationError, Refused, Unknown
from management.local_node import LocalNode
from management.patroni import require_no_patroni
from management.record import ClusterRecord, require_record, save_record
from management.replicas import build_replicas, put_aside
from management.rewind import rewind
from management.succession import Succession, in_words
from management.survey import Evidence, Survey
from management.synchronous import SynchronousReplication
from routers.node import Role


class Method(StrEnum):
    """How a node's data becomes a copy of the primary's."""

    FOLLOW = "follow"
    """As it is: it was a replica, so it has nothing of its own."""
    REWIND = "rewind"
    """`pg_rewind`: only what differs is copied."""
    RECLONE = "reclone"
    """A new base backup; the old data is put aside."""


@dataclass(frozen=True, slots=True)
class RejoinPlan:
    """What a rejoin would do."""

    node: str
    primary: str
    timeline: int
    """The primary's."""
    method: Method
    node_timeline: int | None
    """The node's, by its control file. None: it has no data."""


@dataclass(frozen=True, slots=True)
class Rejoined:
    """What a rejoin did."""

    plan: RejoinPlan
    method: Method
    """The one that worked: a node that does not follow afterwards is cloned anew."""
    diverged_wal: str | None
    """Where the WAL is that only this node had. None: it had none."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """One rejoin."""

    succession: Succession
    name: str
    wanted: Method | None = None
    """None: the gentlest that may work, and a re-clone if it does not."""

    def plan(self) -> RejoinPlan:
        """What would be done now. Changes nothing.

        Raises:
            Refused: It is, or may be, the node that accepts writes; or it cannot be done from here.
            Unknown: It is silent.
        """
        succession = self.succession
        record = require_record(succession.state)
        node = self._local(record)
        survey = succession.survey()
        require_no_patroni(survey, succession.credentials.superuser)
        primary = _require_not_writable(self.name, survey)
        control = self._control_data(node, record, survey)
        timeline = control.timeline if control else None
        return RejoinPlan(self.name, primary, survey.timeline, self._method(control, record, survey), timeline)

    def carry_out(self, plan: RejoinPlan) -> Rejoined:
        """Do it.

        Raises:
            Incomplete: The node does not follow; says what to run.
        """
        node = self._local(require_record(self.succession.state))
        method, kept = plan.method, None
        try:
            if method is Method.REWIND:
                try:
                    kept = rewind(node, plan.primary, plan.timeline, self.succession)
                except OperationError as error:
                    self.succession.say(f"{node.name} cannot be rewound ({in_words(error)}): cloning it anew")
                    method = Method.RECLONE
            method = self._return(node, plan, method)
        except (psycopg.Error, OperationError, OSError, KeyboardInterrupt) as error:
            raise Incomplete(
                f"{node.name} is not back: {in_words(error)} Run the command again, "
                f"or `manage.py rejoin_node {node.name} --reclone`."
            ) from error
        return Rejoined(plan, method, str(kept) if kept else None)

    def _return(self, node: LocalNode, plan: RejoinPlan, method: Method) -> Method:
        """Let it follow; the method that it took, which is a re-clone if the given one was not enough.

        Raises:
            OperationError: It does not follow.
        """
        if method is not Method.RECLONE:
            problem = self._follow(node, plan)
            if not problem:
                return method
            if self.wanted is not None:
                node.stop()
                raise OperationError(f"{problem}. It is stopped again.")
            self.succession.say(f"{node.name} does not follow ({problem}): cloning it anew")
        self._set_synchronous(plan, present=False)
        put_aside(node, say=self.succession.say)
        problem = self._follow(node, plan)
        if problem:
            raise OperationError(problem)
        return Method.RECLONE

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────

    def _local(self, record: ClusterRecord) -> LocalNode:
        node = record.local(self.name, self.succession.state)
        if node is None:
            raise Refused(
                f"{self.name} does not run on this machine. `manage.py setup_replication --existing` prints the lines "
                "that clone it anew on its host."
            )
        for other in record.nodes:
            is_same = other.data_dir is not None and Path(other.data_dir).resolve() == node.data_dir.resolve()
            if other.name != node.name and is_same:
                raise Refused(f"{node.data_dir} is the directory of {other.name}, too. Nothing was changed.")
        return node

    def _control_data(self, node: LocalNode, record: ClusterRecord, survey: Survey) -> ControlData | None:
        """What its files say. None: there are none.

        Raises:
            Refused: They are of another cluster.
        """
        if not node.is_initialised:
            return None
        control = read_control_data(node.data_dir, record.host())
        if control.system_identifier != survey.system_identifier:
            raise Refused(
                f"{node.data_dir} holds system {control.system_identifier}, but this cluster is system "
                f"{survey.system_identifier}: it is not this node's directory. Nothing was changed."
            )
        return control

    def _method(self, control: ControlData | None, record: ClusterRecord, survey: Survey) -> Method:
        if control is None or self.wanted is Method.RECLONE:
            return Method.RECLONE
        # An old primary that somebody has started read-only calls itself a replica.
        is_in_doubt = record.node(self.name).fenced and control.timeline < survey.timeline and self.wanted is None
        gentlest = Method.REWIND if control.was_primary or is_in_doubt else Method.FOLLOW
        if self.wanted is Method.FOLLOW and gentlest is not Method.FOLLOW:
            raise Refused(
                f"{self.name} was a primary when it last ran, and may have what no other node has: "
                f"`manage.py rejoin_node {self.name}` keeps that and brings it back."
            )
        return self.wanted or gentlest

    # ── Acting ─────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, node: LocalNode, plan: RejoinPlan) -> str:
        """Start it behind the primary and see it stream. Why it does not, or nothing."""
        succession = self.succession
        record = require_record(succession.state)
        primary = record.node(plan.primary)
        with connect(primary, succession.credentials.superuser) as connection:
            provisioning.ensure_slot(connection, node.name)
        built = build_replicas([node], primary.name, record, succession.credentials, say=succession.say)
        if built.failed:
            return built.failed[node.name]
        save_record(succession.state, record.without_fenced({node.name}))
        self._set_synchronous(plan, present=True)
        return ""

    def _set_synchronous(self, plan: RejoinPlan, *, present: bool) -> None:
        """Let commits wait for the node, or not while it is away."""
        succession, record = self.succession, require_record(self.succession.state)
        if not present and plan.node not in record.synchronous.names:
            return
        names = [name for name in record.synchronous.names if name != plan.node]
        synchronous = SynchronousReplication.choose(record.synchronous.mode, [*names, plan.node] if present else names)
        with connect(record.node(plan.primary), succession.credentials.superuser) as connection:
            provisioning.set_synchronous(connection, synchronous)
        save_record(succession.state, record.with_synchronous(synchronous))
        state = "streams" if present else "is taken away"
        succession.say(f"{plan.node} {state}; commits wait for {synchronous.setting() or 'nobody'}")


def _require_not_writable(name: str, survey: Survey) -> str:
    """The primary, which is another node and the only one that accepts writes.

    Raises:
        Refused, Unknown: It is not certain that the node's data may be overwritten.
    """
    found = survey.nodes[name]
    if name == survey.primary:
        raise Refused(f"{name} is the primary: its data is the cluster's. Nothing was changed.")
    if found.status is not None and found.status.role is Role.PRIMARY:
        raise Refused(f"{name} accepts writes on timeline {found.status.timeline}. Fence it first: fence_node {name}.")
    if found.evidence is Evidence.SILENT:
        raise Unknown(f"{name} runs and does not answer: it may be frozen. Fence it first: fence_node {name}.")
    if survey.primary is None:
        raise Refused(f"No node accepts writes, so there is nothing to follow, and {name} may have the newest data.")
    if len(survey.writable) > 1:
        raise Refused(f"{' and '.join(survey.writable)} accept writes. Fence the wrong one first: fence_node NODE.")
    return survey.primary
