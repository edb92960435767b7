"""Finds settings that stop a replica, or would be wrong after a promotion. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Rule, critical, warning

NOT_BELOW_THE_PRIMARY: Final = (
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
)
"""PostgreSQL docs, Hot Standby, Administrator's Overview."""
ALIKE: Final = (
    "wal_level",
    "hot_standby",
    "wal_log_hints",
    "data_checksums",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "synchronous_commit",
    "full_page_writes",
    "shared_preload_libraries",
    "archive_mode",
)
"""What a node needs as the primary. Any may become it."""
_BACKUP_SENDERS: Final = 2
"""PostgreSQL docs, pg_basebackup, --wal-method=stream: one for the data and one for the WAL."""


def below_primary(case: Case) -> Findings:
    """A replica has less than the primary of what WAL replay needs."""
    for name, facts in case.replicas.items() if case.primary else ():
        low = [key for key in NOT_BELOW_THE_PRIMARY if int(facts.settings[key]) < int(_primary(case, key))]
        if low:
            shown = ", ".join(f"{key} {facts.settings[key]} (primary {_primary(case, key)})" for key in low)
            yield critical(
                "below_primary",
                name,
                f"{name}: {shown}",
                "Replay pauses as soon as the primary's value arrives, and the node does not start again.",
                *(f"on {name}: ALTER SYSTEM SET {key} = {_primary(case, key)};" for key in low),
                f"restart {name}",
            )


def drift(case: Case) -> Findings:
    """The nodes differ in what matters after a promotion."""
    for key in ALIKE:
        values = {name: facts.settings[key] for name, facts in case.facts.items()}
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{name} {value or 'empty'}" for name, value in values.items())
            meaning = "After a promotion the cluster behaves differently."
            remedy = f"set it alike on all: ALTER SYSTEM SET {key} = …; then reload, or restart if it says so"
            yield warning("drift", None, f"{key} differs: {shown}", meaning, remedy)


def pending_restart(case: Case) -> Findings:
    """A change waits for a restart."""
    for name, facts in case.facts.items():
        if facts.pending_restart:
            what = f"{name}: {', '.join(facts.pending_restart)} changed and not yet in force"
            meaning = "The next start, perhaps an unplanned one, changes how it works."
            remedy = ("manage.py switchover",) if name == case.survey.primary else ()
            yield warning("pending_restart", name, what, meaning, *remedy, f"restart {name} when it suits")


def too_few_connections(case: Case) -> Findings:
    """A node could not serve all others and a base backup, if it were the primary."""
    others = len(case.record.nodes) - 1
    for name, facts in case.facts.items():
        strangers = sum(sender.name not in case.survey.nodes for sender in facts.senders)
        foreign_slots = sum(slot.name not in case.survey.nodes for slot in facts.slots)
        for key, needed in (
            ("max_wal_senders", others + _BACKUP_SENDERS + strangers),
            ("max_replication_slots", others + foreign_slots),
        ):
            if int(facts.settings[key]) < needed:
                yield warning(
                    "too_few_connections",
                    name,
                    f"{name}: {key} is {facts.settings[key]}, at least {needed} are needed",
                    "As the primary it could not serve every replica and a base backup.",
                    f"on {name}: ALTER SYSTEM SET {key} = {max(10, needed)}; then restart it",
                )


def no_rewind(case: Case) -> Findings:
    """pg_rewind needs one of two settings."""
    for name, facts in case.facts.items():
        if facts.settings["wal_log_hints"] == "off" and facts.settings["data_checksums"] == "off":
            yield warning(
                "no_rewind",
                name,
                f"{name}: wal_log_hints and data checksums are both off",
                "After a failover it cannot be rewound: it has to be cloned anew, however large it is.",
                f"on {name}: ALTER SYSTEM SET wal_log_hints = on; then restart it",
            )


def _primary(case: Case, key: str) -> str:
    return case.primary.settings[key] if case.primary else "0"


RULES: Final[tuple[Rule, ...]] = (below_primary, drift, pending_restart, too_few_connections, no_rewind)
