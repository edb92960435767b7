"""What a diagnosis is made from, and what it is made of: the case, and its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from management.examination import Examination, NodeFacts
from management.lag import LagReport, Thresholds, judge_lag
from management.record import ClusterRecord
from management.survey import Survey
from routers.node import NodeStatus

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB


class Severity(StrEnum):
    """Whether somebody has to get up."""

    CRITICAL = "critical"
    """Something does not work, or works without its net."""
    WARNING = "warning"
    """It works, and something will be missing when it is needed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    code: str
    """Stable: for filters and documentation."""
    severity: Severity
    node: str | None
    """None: it is about the cluster."""
    what: str
    meaning: str
    to_do: tuple[str, ...]
    """Commands of this project, SQL, or lines for a host."""


def _finding(severity: Severity, code: str, node: str | None, what: str, meaning: str, *to_do: str) -> Finding:
    return Finding(code, severity, node, what, meaning, to_do)


critical: Final = partial(_finding, Severity.CRITICAL)
warning: Final = partial(_finding, Severity.WARNING)


@dataclass(frozen=True, slots=True)
class Room:
    """How little free space is too little: either is enough to say so."""

    free_bytes: int
    free_percent: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as too much or too little."""

    lag: Thresholds
    slow_seconds: float = 1.0
    """For the round trip."""
    waiting_seconds: float = 5.0
    """For a commit that waits for a replica."""
    disk_low: Room = Room(2 * _GIB, 10.0)
    disk_full: Room = Room(_GIB // 2, 3.0)


@dataclass(frozen=True, slots=True)
class Case:
    """The facts, the record, and the limits."""

    examination: Examination
    record: ClusterRecord
    limits: Limits

    @property
    def survey(self) -> Survey:
        """What every node says."""
        return self.examination.survey

    @property
    def facts(self) -> dict[str, NodeFacts]:
        """The nodes of this cluster that were examined."""
        return {name: facts for name, facts in self.examination.facts.items() if name not in self.survey.strangers}

    @property
    def primary(self) -> NodeFacts | None:
        """The primary's. None: there is none, or it was not examined."""
        return self.facts.get(self.survey.primary or "")

    @property
    def leader(self) -> NodeStatus | None:
        """The primary's answer."""
        return self.survey.nodes[self.survey.primary].status if self.survey.primary else None

    @property
    def fenced(self) -> set[str]:
        """Nodes that shall stay away until they are cloned anew."""
        return {node.name for node in self.record.nodes if node.fenced}

    @property
    def members(self) -> list[str]:
        """Nodes that are, or should be, part of replication."""
        return [name for name in self.survey.nodes if name not in self.fenced]

    @property
    def followers(self) -> list[str]:
        """Nodes that should follow the primary."""
        return [name for name in self.members if name != self.survey.primary]

    @property
    def replicas(self) -> dict[str, NodeFacts]:
        """The followers that were examined and are replicas."""
        return {
            name: self.facts[name] for name in self.followers if name in self.facts and name in self.survey.replicas
        }

    @property
    def lag(self) -> LagReport:
        """Each replica's lag, judged."""
        return judge_lag(self.survey, self.primary.senders if self.primary else (), self.limits.lag, fenced=self.fenced)

    @property
    def is_local(self) -> bool:
        """Whether set-up runs the nodes itself."""
        return all(node.data_dir is not None for node in self.record.nodes)

    def setup(self, option: str = "") -> str:
        """The command that brings everything to what was set up."""
        return " ".join(filter(None, ["manage.py setup_replication", "" if self.is_local else "--existing", option]))

    def enlarge(self) -> tuple[str, ...]:
        """How another replica is added."""
        return (self.setup("--replicas 1"),) if self.is_local else ("add a node to HIGHLOAD_NODES, then:", self.setup())

    def start(self, name: str) -> tuple[str, ...]:
        """How a node that does not run is started."""
        if name == self.record.primary and self.survey.primary not in {None, name}:
            # It would come up as a second primary.
            return (f"manage.py rejoin_node {name}",)
        if self.record.node(name).data_dir is not None:
            return (self.setup(),)
        return (f"on {name}'s host: systemctl start postgresql", self.setup())

    def clone(self, name: str) -> tuple[str, ...]:
        """How a node is made anew from the primary."""
        if self.record.node(name).data_dir is not None:
            return (self.setup(f"--reclone {name}"),)
        return (f"on {name}'s host: stop PostgreSQL and move its data directory away", self.setup())


Findings = Iterator[Finding]
Rule = Callable[[Case], Findings]
"""Looks for one thing."""
