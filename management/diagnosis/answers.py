"""Finds nodes that do not answer, or not everything, and nodes of another version. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Rule, critical
from management.survey import Evidence
from routers.node import Unreachable

_MEANING: Final = {
    Evidence.STOPPED: "Its process is gone.",
    Evidence.REFUSED: "Nothing listens there: it is stopped, or its address or port is another one.",
    Evidence.SILENT: "It may be frozen, starting or cut off, or refuse the login. Silence is no proof of its death.",
}


def node_down(case: Case) -> Findings:
    """A node that should be there does not answer. Codes node_stopped, node_refused, node_silent."""
    for name in case.members:
        found = case.survey.nodes[name]
        if not isinstance(found.answer, Unreachable):
            continue
        local = case.record.node(name).data_dir is not None
        look = (
            f"look at its log: log/{name}.log in the state directory" if local else f"look at it: ssh {found.node.host}"
        )
        yield critical(
            f"node_{found.evidence}",
            name,
            f"{name} does not answer ({found.evidence})"
            + (f": {found.answer.reason}" if found.evidence is Evidence.SILENT else ""),
            _MEANING[found.evidence],
            *((look,) if found.evidence is Evidence.SILENT else case.start(name)),
        )


def not_examined(case: Case) -> Findings:
    """A node answered the survey, and then no more."""
    for name, why in case.examination.unexamined.items():
        yield critical(
            "not_examined",
            name,
            f"{name} answered, but not every question: {why}",
            "It has frozen or ended just now, or this login is not a superuser. Nothing else is known of it.",
            "manage.py diagnose_replication",
        )


def other_version(case: Case) -> Findings:
    """A replica of another major version."""
    leader = case.primary
    for name, facts in case.replicas.items():
        ours, theirs = (int(each.settings["server_version_num"]) // 10_000 for each in (facts, leader or facts))
        if ours != theirs:
            yield critical(
                "other_version",
                name,
                f"{name} is PostgreSQL {ours}, the primary {theirs}",
                "WAL is not understood by another major version: it cannot follow.",
                f"install PostgreSQL {theirs} on {name}'s host, then:",
                *case.clone(name),
            )


RULES: Final[tuple[Rule, ...]] = (node_down, not_examined, other_version)
