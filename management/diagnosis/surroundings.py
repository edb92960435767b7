"""Finds what is around the servers: disks, the archive, files that decide the next start, Patroni. Pure."""

from __future__ import annotations

from typing import Final

from management.diagnosis.case import Case, Findings, Room, Rule, critical, warning
from management.examination import Disk
from management.output import show_bytes
from routers.node import Role


def disk_low(case: Case) -> Findings:
    """A disk that WAL is written to gets full."""
    for name, disk in case.examination.disks.items():
        kind = critical if _is_within(disk, case.limits.disk_full) else warning
        if _is_within(disk, case.limits.disk_low):
            percent = 100 * disk.free_bytes / disk.total_bytes
            yield kind(
                "disk_low",
                name,
                f"{name}: {show_bytes(disk.free_bytes)} ({percent:.0f} %) free where its WAL is",
                "A full disk stops the node; a primary with it. Never delete files in pg_wal by hand.",
                f"on its host: df -h; du -sh {_data_dir(case, name)}/pg_wal",
                "free or add space; drop slots of nobody (see slot findings)",
            )


def archive_fails(case: Case) -> Findings:
    """WAL could not be archived."""
    for name, facts in case.facts.items():
        if facts.failed_archive is not None:
            yield warning(
                "archive_fails",
                name,
                f"{name}: the last attempt to archive WAL failed ({facts.failed_archive})",
                "The archive has a hole from there on, and WAL stays on the disk until it succeeds.",
                f"on {name}: SELECT * FROM pg_stat_archiver; and its log: what archive_command said",
            )


def standby_signal(case: Case) -> Findings:
    """A node that accepts writes would start as a replica."""
    for name, facts in case.facts.items():
        status = case.survey.nodes[name].status
        if facts.has_standby_signal and status and status.role is Role.PRIMARY:
            yield warning(
                "standby_signal",
                name,
                f"{name} accepts writes, and there is a standby.signal in its data directory",
                "It was fenced while it ran, or by mistake: after its next start it is read-only.",
                f"if it is the right primary, on its host: rm {facts.settings['data_directory']}/standby.signal",
            )


def patroni(case: Case) -> Findings:
    """Somebody else operates this cluster."""
    managed = [name for name, facts in case.facts.items() if facts.is_managed_by_patroni]
    if managed:
        yield warning(
            "patroni",
            None,
            f"Patroni runs {' and '.join(managed)}",
            "It would undo what promote_replica, switchover and rejoin_node do, so they refuse.",
            "patronictl list",
        )


def _is_within(disk: Disk, room: Room) -> bool:
    return disk.free_bytes < room.free_bytes or 100 * disk.free_bytes < room.free_percent * disk.total_bytes


def _data_dir(case: Case, name: str) -> str:
    return case.record.node(name).data_dir or "$PGDATA"


RULES: Final[tuple[Rule, ...]] = (disk_low, archive_fails, standby_signal, patroni)
