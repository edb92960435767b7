"""What every node that answers says of its replication, in detail. Facts only; each question is bounded in time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from management.connection import connect
from management.credentials import Login
from management.patroni import IS_MANAGED
from management.record import ClusterRecord, RecordedNode
from management.round_trip import RoundTrip, measure_round_trip
from management.state import StateDirectory
from management.survey import Sender, Survey, name_of, senders_of, take_survey
from management.synchronous import StandbyList

SETTINGS: Final = (
    "archive_mode",
    "data_checksums",
    "data_directory",
    "fsync",
    "full_page_writes",
    "hot_standby",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_worker_processes",
    "primary_slot_name",
    "recovery_min_apply_delay",
    "server_version_num",
    "shared_preload_libraries",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_level",
    "wal_log_hints",
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A row of `pg_replication_slots` that outlives its connection.

    PostgreSQL docs, System Views, pg_replication_slots.
    """

    name: str
    is_physical: bool
    is_active: bool
    wal_status: str | None
    """reserved, extended, unreserved or lost. None: it has kept nothing yet."""
    safe_wal_bytes: int | None
    """What may still be written before it loses its WAL. None: unlimited, or lost."""
    held_bytes: int | None
    """The WAL it keeps. None: it has kept nothing yet, or has lost it."""
    is_synchronised: bool
    """Whether the primary's slot is copied to this replica, which PostgreSQL 17 can do."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node that answered every question."""

    settings: Mapping[str, str]
    """Of SETTINGS, as in `pg_settings`: numbers in the unit given there."""
    pending_restart: tuple[str, ...]
    """Settings that were changed and wait for a restart."""
    slots: tuple[Slot, ...]
    senders: tuple[Sender, ...]
    """The replicas connected to it."""
    pause_state: str | None
    """`not paused`, `pause requested` or `paused`. None on a primary."""
    receiver_status: str | None
    """Of its WAL receiver. None: there is none."""
    configured_source: str | None
    """The node, or HOST:PORT, that its `primary_conninfo` names. None: none."""
    has_standby_signal: bool
    is_managed_by_patroni: bool
    waiting_commits: int
    """Sessions that wait for a synchronous replica."""
    oldest_wait_seconds: float | None
    """Since the statement began that waits longest. None: none waits."""
    failed_archive: str | None
    """The WAL file that could not be archived, if the last attempt failed. None: it did not."""

    @property
    def standby_list(self) -> StandbyList:
        """The replicas that must confirm its commits."""
        return StandbyList.parse(self.settings["synchronous_standby_names"])

    @property
    def confirming(self) -> list[str]:
        """The replicas that confirm its commits now."""
        return [
            sender.name
            for sender in self.senders
            if sender.state == "streaming" and sender.sync_state in {"sync", "quorum"}
        ]


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that the WAL of a node of this machine is on."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found out."""

    survey: Survey
    facts: Mapping[str, NodeFacts]
    unexamined: Mapping[str, str]
    """Nodes that answered the survey and then not every question, and why."""
    disks: Mapping[str, Disk]
    """Of the nodes of this machine, running or not."""
    round_trip: RoundTrip | None
    """None: nothing was to be written, or there was nowhere to."""


def examine(
    record: ClusterRecord, login: Login, state: StateDirectory, *, timeout_seconds: float, writes: bool
) -> Examination:
    """Ask every node, as a superuser. A node that freezes meanwhile costs its timeouts and no more.

    Args:
        record: The cluster.
        login: A superuser's.
        state: The state directory.
        timeout_seconds: For the answers of each node, and for the round trip.
        writes: Whether to commit something and time its arrival.
    """
    survey = take_survey(record, login, state)
    facts, unexamined = _ask_all(record, survey, login, timeout_seconds)
    round_trip = None
    if writes and survey.primary in facts:
        round_trip = measure_round_trip(
            record.node(str(survey.primary)),
            # On another timeline the same position is other data.
            [survey.nodes[name].node for name, status in survey.replicas.items() if status.timeline == survey.timeline],
            login,
            timeout_seconds=timeout_seconds,
            waits=_may_wait(facts[str(survey.primary)], timeout_seconds),
        )
    return Examination(survey, facts, unexamined, _disks(record), round_trip)


def _may_wait(primary: NodeFacts, timeout_seconds: float) -> bool:
    """Whether a commit can be confirmed. One that cannot leaves a session behind that waits for ever."""
    return (
        len(primary.confirming) >= primary.standby_list.count and (primary.oldest_wait_seconds or 0) < timeout_seconds
    )


def _ask_all(
    record: ClusterRecord, survey: Survey, login: Login, timeout_seconds: float
) -> tuple[dict[str, NodeFacts], dict[str, str]]:
    def ask(node: RecordedNode) -> NodeFacts | str:
        try:
            with connect(node, login, timeout_seconds=timeout_seconds) as connection:
                return _read_facts(connection, record)
        except psycopg.Error as error:
            return " ".join(str(error).split())

    answering = [found.node for found in survey.nodes.values() if found.status]
    with ThreadPoolExecutor(max_workers=len(record.nodes)) as pool:
        answers = dict(zip((node.name for node in answering), pool.map(ask, answering), strict=True))
    return (
        {name: answer for name, answer in answers.items() if isinstance(answer, NodeFacts)},
        {name: answer for name, answer in answers.items() if isinstance(answer, str)},
    )


# This session's own synchronous_commit is not the server's.
_FACTS: Final = f"""
SELECT (SELECT jsonb_object_agg(name, CASE name WHEN 'synchronous_commit' THEN reset_val ELSE setting END)
        FROM pg_settings WHERE name = ANY(%s)) AS settings,
       ARRAY(SELECT name FROM pg_settings WHERE pending_restart ORDER BY name) AS pending_restart,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS pause_state,
       (SELECT status FROM pg_stat_wal_receiver) AS receiver_status,
       current_setting('primary_conninfo') AS primary_conninfo,
       (pg_stat_file('standby.signal', true)).size IS NOT NULL AS has_standby_signal,
       {IS_MANAGED} AS is_managed_by_patroni,
       waiting.count AS waiting_commits,
       waiting.oldest AS oldest_wait_seconds,
       (SELECT last_failed_wal FROM pg_stat_archiver
        WHERE current_setting('archive_mode') <> 'off'
              AND last_failed_time > coalesce(last_archived_time, '-infinity')) AS failed_archive
FROM (SELECT count(*), max(extract(epoch FROM clock_timestamp() - query_start))::float8 AS oldest
      FROM pg_stat_activity WHERE wait_event = 'SyncRep') AS waiting
"""
_SLOTS: Final = """
SELECT slot_name, slot_type = 'physical', active, wal_status, safe_wal_size,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_insert_lsn() END, restart_lsn)::bigint,
       coalesce((to_jsonb(slot) ->> 'synced')::boolean, false)
FROM pg_replication_slots AS slot
WHERE NOT temporary
ORDER BY slot_name
"""


def _read_facts(connection: psycopg.Connection[Any], record: ClusterRecord) -> NodeFacts:
    cursor = connection.execute(_FACTS, [list(SETTINGS)])
    values = dict(zip((column.name for column in cursor.description or ()), cursor.fetchone() or (), strict=True))
    values["pending_restart"] = tuple(values["pending_restart"])
    values["configured_source"] = _source_of(values.pop("primary_conninfo"), record)
    return NodeFacts(
        **values,
        slots=tuple(Slot(*row) for row in connection.execute(_SLOTS).fetchall()),
        senders=tuple(senders_of(connection)),
    )


def _source_of(primary_conninfo: str, record: ClusterRecord) -> str | None:
    parts = conninfo_to_dict(primary_conninfo)
    host, port = parts.get("host"), str(parts.get("port") or 5432)
    if not host or not port.isdecimal():
        return str(host) if host else None
    return name_of(record, str(host), int(port))


def _disks(record: ClusterRecord) -> dict[str, Disk]:
    disks = {}
    for node in record.nodes:
        # pg_wal may lie on a disk of its own. Not readable, or not there: not known.
        with contextlib.suppress(OSError):
            if node.data_dir is not None:
                usage = shutil.disk_usage(Path(node.data_dir) / "pg_wal")
                disks[node.name] = Disk(usage.free, usage.total)
    return disks
