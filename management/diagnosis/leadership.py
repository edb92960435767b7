"""Finds what is wrong with who leads: no primary, two, a foreign one, nobody to take over. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from management.candidate import Risks, plan_promotion
from management.diagnosis.case import Case, Findings, Rule, critical, warning
from management.errors import OperationError
from management.survey import Evidence
from management.synchronous import SyncMode
from routers.node import NodeStatus, Role, Unreachable


def split_brain(case: Case) -> Findings:
    """Two nodes of this cluster accept writes, or one of a history that is over does."""
    writable = {name: status for name, status in _members(case).items() if status.role is Role.PRIMARY}
    stale = [name for name in writable if name != case.survey.primary]
    timelines = " and ".join(f"{name} (timeline {status.timeline})" for name, status in writable.items())
    if len(writable) > 1:
        remedy = (
            [line for name in stale for line in (f"manage.py fence_node {name}", f"manage.py rejoin_node {name}")]
            if case.survey.primary
            else ["find out which has the newest data; then manage.py fence_node NODE for each other one"]
        )
        meaning = "What is written on one is not on the other, and one side's writes will be lost. " + (
            f"The application writes to {case.survey.primary}." if case.survey.primary else ""
        )
        yield critical("split_brain", None, f"{timelines} accept writes", meaning, *remedy)
    elif stale:
        meaning = (
            f"It is a primary of before: the others are on timeline {case.survey.timeline}. Its writes will be lost."
        )
        yield critical(
            "old_primary", stale[0], f"{timelines} accepts writes", meaning, f"manage.py fence_node {stale[0]}"
        )


def no_primary(case: Case) -> Findings:
    """Nobody leads."""
    if case.survey.primary is not None or len(case.survey.writable) > 1:
        return
    was = case.record.primary
    found = case.survey.nodes.get(was or "")
    evidence = f"; {was}, the last one known, is {found.evidence}" if found and found.status is None else ""
    remedy = ["manage.py promote_replica --dry-run", "manage.py promote_replica"]
    if case.record.handover is not None:
        remedy = ["manage.py switchover (goes on where it was)"]
    elif found and found.evidence is Evidence.STOPPED:
        remedy = [f"{case.setup()} (starts {was} again, loses nothing); if it does not start:", *remedy]
    elif found and found.evidence is Evidence.SILENT:
        remedy = [f"manage.py fence_node {was}", *remedy]
    yield critical(
        "no_primary", None, f"no node is known to accept writes{evidence}", "Writes fail; reads go on.", *remedy
    )


def handover_unfinished(case: Case) -> Findings:
    """A switchover was broken off between its steps."""
    begun = case.record.handover
    if begun is not None:
        yield critical(
            "handover_unfinished",
            begun.old_primary,
            f"a switchover from {begun.old_primary} to {begun.candidate} was broken off",
            "Writes may be stopped, and not every node follows the primary yet.",
            "manage.py switchover (goes on where it was)",
        )


def other_primary(case: Case) -> Findings:
    """The record names another node: somebody has promoted by hand."""
    if case.survey.primary is not None and case.record.primary not in {None, case.survey.primary}:
        yield warning(
            "other_primary",
            case.survey.primary,
            f"{case.survey.primary} is the primary, the record names {case.record.primary}",
            "It was promoted by other means than these commands: slots and the synchronous list may be missing.",
            case.setup(),
        )


def foreign_node(case: Case) -> Findings:
    """A node of another cluster answers at a node's address."""
    for name in case.survey.strangers:
        status = case.survey.nodes[name].status
        yield critical(
            "foreign_node",
            name,
            f"{name} has system identifier {status.system_identifier if status else 'unknown'}, "
            f"the cluster's is {case.survey.system_identifier}",
            "It belongs to another cluster: it is never read from, and can never follow this primary.",
            "correct its address in HIGHLOAD_NODES, or clone it from the primary:",
            *case.clone(name),
        )


def no_candidate(case: Case) -> Findings:
    """Nobody could take over if the primary died now; or nobody can, and it has."""
    if len(case.members) == 1:
        meaning = "If its machine is lost, so is the data."
        remedy = [f"manage.py rejoin_node {name}" for name in sorted(case.fenced)] or list(case.enlarge())
        yield warning("no_candidate", None, "there is no replica", meaning, *remedy)
    elif case.survey.primary is None:
        yield from _no_successor(case)
    elif case.primary and not {sender.name for sender in case.primary.senders} & set(case.replicas):
        meaning = "If the primary dies now, what it has written since is lost."
        yield critical("no_candidate", None, "no replica follows the primary", meaning, case.setup())
    elif case.record.synchronous.mode is not SyncMode.OFF:
        yield from _no_safe_successor(case)


def _no_successor(case: Case) -> Findings:
    if case.survey.writable:
        return
    try:
        plan_promotion(case.survey, case.record, Risks())
    except OperationError as error:
        meaning = "promote_replica refuses as things are; it names the option that takes the risk, if there is one."
        yield critical("no_candidate", None, str(error), meaning, "manage.py promote_replica --dry-run")


def _no_safe_successor(case: Case) -> Findings:
    """What `promote_replica` would say if the primary died now."""
    name = str(case.survey.primary)
    dead = replace(case.survey.nodes[name], answer=Unreachable("as if dead"), evidence=Evidence.STOPPED)
    survey = replace(case.survey, primary=None, nodes={**case.survey.nodes, name: dead})
    try:
        plan_promotion(survey, case.record, Risks(assume_fenced=frozenset({name})))
    except OperationError as error:
        meaning = f"If {name} died now, promote_replica would refuse: {error}"
        remedy = f"{case.setup()} (takes who does not stream off the synchronous list)"
        yield warning("no_safe_candidate", None, "no replica could take over safely", meaning, remedy)


def _members(case: Case) -> dict[str, NodeStatus]:
    return {
        name: found.status
        for name, found in case.survey.nodes.items()
        if found.status and name not in case.survey.strangers
    }


RULES: Final[tuple[Rule, ...]] = (
    split_brain,
    no_primary,
    foreign_node,
    no_candidate,
    other_primary,
    handover_unfinished,
)
