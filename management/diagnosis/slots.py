"""Finds replication slots that are missing, idle, left over or have lost their WAL. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Finding, Findings, Rule, critical, warning
from management.examination import Slot
from management.output import show_bytes


def slot_missing(case: Case) -> Findings:
    """A replica has no slot on the primary."""
    if case.primary is None:
        return
    there = {slot.name for slot in case.primary.slots if slot.is_physical}
    connected = {sender.name for sender in case.primary.senders}
    for name in case.followers:
        if name not in there and name not in case.survey.writable:
            kind, meaning = (
                (critical, "It asks for this slot and is refused, and the primary removes WAL that it needs.")
                if name in case.survey.replicas and name not in connected
                else (warning, "While it is away the primary removes WAL that it needs; it must be cloned anew then.")
            )
            yield kind("slot_missing", name, f"{case.survey.primary} has no slot {name}", meaning, case.setup())


def slot_of_replica(case: Case) -> Findings:
    """A replica's slot is idle, or loses what it keeps."""
    for slot in case.primary.slots if case.primary else ():
        if slot.name in case.followers:
            yield from _judge(slot, case)


def slot_of_nobody(case: Case) -> Findings:
    """An idle slot on the primary that is no replica's."""
    for slot in case.primary.slots if case.primary else ():
        if slot.name not in case.followers and not slot.is_active:
            yield _left_over("slot_of_nobody", str(case.survey.primary), slot)


def slot_on_replica(case: Case) -> Findings:
    """An idle slot on a replica keeps WAL there for ever."""
    for name, facts in case.replicas.items():
        for slot in facts.slots:
            if slot.held_bytes is not None and not slot.is_active and not slot.is_synchronised:
                yield _left_over("slot_on_replica", name, slot)


def wal_unlimited(case: Case) -> Findings:
    """A slot may fill the disk."""
    for name, facts in case.facts.items():
        if int(facts.settings["max_slot_wal_keep_size"]) < 0:
            yield warning(
                "wal_unlimited",
                name,
                f"{name}: max_slot_wal_keep_size is unlimited",
                "The WAL kept for a replica that is away fills the disk, and then the primary stops.",
                f"on {name}: ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf();",
            )


def _judge(slot: Slot, case: Case) -> Findings:
    held = f"keeps {show_bytes(slot.held_bytes)} of WAL"
    if slot.wal_status == "lost":
        what = f"slot {slot.name} has lost the WAL that its replica needs"
        meaning = "It was away for longer than max_slot_wal_keep_size allows: it can never catch up."
        yield critical("slot_lost", slot.name, what, meaning, *case.clone(slot.name))
    elif slot.wal_status == "unreserved":
        what = f"slot {slot.name} {held}, beyond max_slot_wal_keep_size"
        meaning = "The next checkpoint takes it away, and the replica must be cloned anew."
        remedy = (*case.start(slot.name), "on the primary: raise max_slot_wal_keep_size; SELECT pg_reload_conf();")
        yield critical("slot_unreserved", slot.name, what, meaning, *remedy)
    elif slot.wal_status == "extended":
        what = f"slot {slot.name} {held}, more than max_wal_size" + _left(slot)
        meaning = "Its replica is behind or away, and the primary's disk fills meanwhile."
        yield warning("slot_extended", slot.name, what, meaning, *case.start(slot.name))
    elif not slot.is_active:
        what = f"slot {slot.name} is not in use and {held}" + _left(slot)
        meaning = "Its replica is away, or connected without it."
        yield warning("slot_inactive", slot.name, what, meaning, *case.start(slot.name))


def _left(slot: Slot) -> str:
    return "" if slot.safe_wal_bytes is None else f"; lost after {show_bytes(slot.safe_wal_bytes)} more"


def _left_over(code: str, node: str, slot: Slot) -> Finding:
    return warning(
        code,
        node,
        f"{node}: slot {slot.name} is nobody's and keeps {show_bytes(slot.held_bytes)} of WAL",
        "Nothing reads it, so the WAL it keeps only grows.",
        f"if no backup or subscriber needs it, on {node}: SELECT pg_drop_replication_slot('{slot.name}');",
    )


RULES: Final[tuple[Rule, ...]] = (slot_missing, slot_of_replica, slot_of_nobody, slot_on_replica, wal_unlimited)
