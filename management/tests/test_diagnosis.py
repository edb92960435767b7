"""Every finding fires on its fact, and a healthy cluster has none."""

import re
from dataclasses import replace
from itertools import chain

import pytest

from management.diagnosis.case import Case, Limits, Severity
from management.diagnosis.verdict import RULES, diagnose
from management.examination import Disk, Examination, NodeFacts, Slot
from management.exit_codes import ExitCode
from management.lag import Health, Thresholds
from management.record import ClusterRecord, Handover, RecordedNode
from management.round_trip import RoundTrip
from management.state import PROJECT_DIR
from management.survey import Evidence, Sender, Survey, SurveyedNode
from management.synchronous import SynchronousReplication, SyncMode
from routers.lsn import Lsn
from routers.node import NodeStatus, Role, Unreachable

NAMES = ("pg1", "pg2", "pg3")
LIMITS = Limits(Thresholds(max_lag_bytes=1000, max_lag_seconds=5.0))
QUORUM = SynchronousReplication(SyncMode.QUORUM, ("pg2", "pg3"))
PRIMARY = NodeStatus(Role.PRIMARY, 7, 1, Lsn(5000))
REPLICA = NodeStatus(Role.REPLICA, 7, 1, Lsn(5000), Lsn(5000), True)
SETTINGS = {
    "archive_mode": "off",
    "data_checksums": "on",
    "data_directory": "/data",
    "fsync": "on",
    "full_page_writes": "on",
    "hot_standby": "on",
    "max_connections": "100",
    "max_locks_per_transaction": "64",
    "max_prepared_transactions": "0",
    "max_replication_slots": "10",
    "max_slot_wal_keep_size": "4096",
    "max_wal_senders": "10",
    "max_worker_processes": "8",
    "primary_slot_name": "",
    "recovery_min_apply_delay": "0",
    "server_version_num": "150018",
    "shared_preload_libraries": "",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
    "wal_level": "replica",
    "wal_log_hints": "on",
}
SYNC = {"synchronous_standby_names": QUORUM.setting()}


def slot(name: str, **changes) -> Slot:
    return replace(Slot(name, True, True, "reserved", None, 0, False), **changes)


def sender(name: str, **changes) -> Sender:
    return replace(Sender(name, "streaming", "quorum", 0, 0, 0, None, None, None), **changes)


SENDERS = (sender("pg2"), sender("pg3"))
SLOTS = (slot("pg2"), slot("pg3"))
NOTHING = NodeFacts(SETTINGS, (), (), (), "not paused", "streaming", "pg1", False, False, 0, None, None)
LEADING = replace(
    NOTHING,
    settings=SETTINGS | SYNC,
    slots=SLOTS,
    senders=SENDERS,
    pause_state=None,
    receiver_status=None,
    configured_source=None,
)
TRIP = RoundTrip(0.002, True, {"pg2": 0.003, "pg3": 0.003})


def case(  # noqa: PLR0913 - each is one thing that may be wrong
    *,
    answers=None,
    sources=None,
    facts=None,
    settings=None,
    record=None,
    primary: str | None = "pg1",
    timeline: int = 1,
    fenced=(),
    **examined,
) -> Case:
    """A healthy cluster of three with these changes, by node."""
    given = {"pg1": PRIMARY, "pg2": REPLICA, "pg3": REPLICA} | (answers or {})
    nodes = tuple(RecordedNode(name, "127.0.0.1", 5501, "/data", name in fenced) for name in given)
    came = {"pg2": "pg1", "pg3": "pg1"} | (sources or {})
    survey = Survey(
        {
            node.name: SurveyedNode(node, given[node.name], Evidence.ANSWERS, came.get(node.name))
            if isinstance(given[node.name], NodeStatus)
            else SurveyedNode(node, Unreachable("no answer"), given[node.name])
            for node in nodes
        },
        primary,
        timeline,
        7,
    )
    found = {
        name: replace(LEADING if name == "pg1" else NOTHING, **(facts or {}).get(name, {}))
        for name, answer in given.items()
        if isinstance(answer, NodeStatus)
    }
    for name, values in (settings or {}).items():
        found[name] = replace(found[name], settings={**found[name].settings, **values})
    examination = Examination(survey, found, {}, {}, TRIP)
    return Case(
        replace(examination, **examined),
        replace(ClusterRecord(nodes, QUORUM, primary="pg1", system_identifier=7), **(record or {})),
        LIMITS,
    )


def conclude(**changes):
    given = case(**changes)
    return diagnose(given.examination, given.record, given.limits)


def everywhere(**values):
    return dict.fromkeys(NAMES, values)


DEAD = {"answers": {"pg1": Evidence.STOPPED}, "primary": None, "sources": {"pg2": None, "pg3": None}}
PG3_GONE = {"answers": {"pg3": Evidence.STOPPED}, "facts": {"pg1": {"senders": (sender("pg2"),)}}}
TWO = {"pg1": PRIMARY, "pg2": replace(PRIMARY, timeline=2)}
OFF = {"record": {"synchronous": SynchronousReplication(SyncMode.OFF)}}
C, W = Severity.CRITICAL, Severity.WARNING
FINDINGS = [
    ("split_brain", C, {"answers": TWO, "primary": "pg2", "timeline": 2}),
    ("old_primary", C, {"primary": None, "timeline": 2}),
    ("no_primary", C, DEAD),
    ("handover_unfinished", C, {"record": {"handover": Handover("pg1", "pg2")}}),
    ("foreign_node", C, {"answers": {"pg3": replace(REPLICA, system_identifier=8)}}),
    ("no_candidate", C, {"facts": {"pg1": {"senders": ()}}}),
    ("no_candidate", C, DEAD | {"answers": {"pg1": Evidence.STOPPED, "pg3": Evidence.STOPPED}}),
    ("no_candidate", W, {"answers": dict.fromkeys(("pg2", "pg3"), Evidence.STOPPED), "fenced": ("pg2", "pg3")}),
    ("no_safe_candidate", W, PG3_GONE),
    ("other_primary", W, {"record": {"primary": "pg2"}}),
    ("node_stopped", C, {"answers": {"pg3": Evidence.STOPPED}}),
    ("node_refused", C, {"answers": {"pg3": Evidence.REFUSED}}),
    ("node_silent", C, {"answers": {"pg3": Evidence.SILENT}}),
    ("not_examined", C, {"unexamined": {"pg3": "frozen"}}),
    ("other_version", C, {"settings": {"pg3": {"server_version_num": "160004"}}}),
    ("commits_hang", C, {"facts": {"pg1": {"senders": tuple(replace(each, sync_state="async") for each in SENDERS)}}}),
    ("commits_hang", C, {"facts": {"pg1": {"waiting_commits": 3, "oldest_wait_seconds": 6.0}}}),
    ("sync_absent", W, PG3_GONE),
    ("sync_off", W, OFF | {"settings": {"pg1": {"synchronous_standby_names": ""}}}),
    ("sync_missing", C, {"settings": {"pg1": {"synchronous_standby_names": ""}}}),
    ("sync_differs", W, {"settings": {"pg1": {"synchronous_standby_names": "pg2, pg3"}}}),
    ("fsync_off", C, {"settings": {"pg3": {"fsync": "off"}}}),
    ("full_page_writes_off", C, {"settings": everywhere(full_page_writes="off")}),
    ("synchronous_commit_off", C, {"settings": {"pg1": {"synchronous_commit": "local"}}}),
    ("synchronous_commit_off", W, {"settings": {"pg3": {"synchronous_commit": "off"}}}),
    ("old_timeline", C, {"answers": {"pg1": replace(PRIMARY, timeline=2)}, "timeline": 2}),
    ("wrong_source", C, {"sources": {"pg3": "pg2"}, "facts": {"pg1": {"senders": (sender("pg2"),)}}}),
    ("not_connected", C, {"sources": {"pg3": None}, "facts": {"pg1": {"senders": (sender("pg2"),)}}}),
    ("not_streaming", C, {"facts": {"pg1": {"senders": (sender("pg2"), sender("pg3", state="catchup"))}}}),
    ("lags", C, {"facts": {"pg1": {"senders": (sender("pg2"), sender("pg3", replay_lag_bytes=1001))}}}),
    ("replay_paused", C, {"facts": {"pg3": {"pause_state": "paused"}}}),
    ("replay_delayed", W, {"settings": {"pg3": {"recovery_min_apply_delay": "60000"}}}),
    ("commit_unconfirmed", C, {"round_trip": replace(TRIP, commit_seconds=None)}),
    ("commit_slow", W, {"round_trip": replace(TRIP, commit_seconds=1.1)}),
    ("no_arrival", C, {"round_trip": replace(TRIP, arrival_seconds={"pg2": 0.1, "pg3": None})}),
    ("arrival_slow", W, {"round_trip": replace(TRIP, arrival_seconds={"pg2": 0.1, "pg3": 1.1})}),
    ("disk_low", C, {"disks": {"pg1": Disk(2**28, 2**40)}}),
    ("disk_low", W, {"disks": {"pg1": Disk(9 * 2**30, 100 * 2**30)}}),
    ("archive_fails", W, {"facts": {"pg1": {"failed_archive": "000000010000000000000001"}}}),
    ("standby_signal", W, {"facts": {"pg1": {"has_standby_signal": True}}}),
    ("patroni", W, {"facts": {"pg1": {"is_managed_by_patroni": True}}}),
    ("slot_missing", W, {"facts": {"pg1": {"slots": (slot("pg2"),)}}}),
    ("slot_missing", C, {"facts": {"pg1": {"slots": (slot("pg2"),), "senders": (sender("pg2"),)}}}),
    ("slot_inactive", W, {"facts": {"pg1": {"slots": (slot("pg2"), slot("pg3", is_active=False))}}}),
    ("slot_lost", C, {"facts": {"pg1": {"slots": (slot("pg2"), slot("pg3", wal_status="lost"))}}}),
    ("slot_unreserved", C, {"facts": {"pg1": {"slots": (slot("pg2"), slot("pg3", wal_status="unreserved"))}}}),
    ("slot_extended", W, {"facts": {"pg1": {"slots": (slot("pg2"), slot("pg3", wal_status="extended"))}}}),
    ("slot_of_nobody", W, {"facts": {"pg1": {"slots": (*SLOTS, slot("old", is_active=False))}}}),
    ("slot_on_replica", W, {"facts": {"pg3": {"slots": (slot("pg2", is_active=False),)}}}),
    ("wal_unlimited", W, {"settings": everywhere(max_slot_wal_keep_size="-1")}),
    ("below_primary", C, {"settings": {"pg3": {"max_connections": "50"}}}),
    ("drift", W, {"settings": {"pg3": {"archive_mode": "on"}}}),
    ("pending_restart", W, {"facts": {"pg1": {"pending_restart": ("max_connections",)}}}),
    ("too_few_connections", W, {"settings": everywhere(max_wal_senders="3")}),
    ("too_few_connections", W, {"settings": everywhere(max_replication_slots="1")}),
    ("no_rewind", W, {"settings": everywhere(wal_log_hints="off", data_checksums="off")}),
]


class TestFindings:
    def test_a_healthy_cluster_has_none(self):
        shown = conclude()
        assert (shown.health, shown.reason, shown.findings) == (Health.HEALTHY, "", ())

    @pytest.mark.parametrize(("code", "severity", "changes"), FINDINGS)
    def test_fires(self, code, severity, changes):
        found = [finding for finding in conclude(**changes).findings if finding.code == code]
        assert {finding.severity for finding in found} == {severity}
        assert all(finding.what and finding.meaning and finding.to_do for finding in found)

    def test_every_rule_is_tried_above(self):
        cases = [case(**changes) for _, _, changes in FINDINGS]
        assert [rule.__name__ for rule in RULES if not any(chain.from_iterable(map(rule, cases)))] == []

    def test_every_code_is_documented(self):
        page = (PROJECT_DIR / "docs/reference/commands.md").read_text()
        section = page.partition("## `manage.py diagnose_replication`")[2].partition("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        documented = set(re.findall(r"`([a-z_]+)`", " ".join(rows)))
        assert documented == {code for code, _, _ in FINDINGS}


class TestSaysOnlyOnce:
    @pytest.mark.parametrize(
        ("changes", "codes"),
        [
            ({"facts": {"pg3": {"pause_state": "paused"}}}, ["replay_paused"]),
            ({"settings": {"pg3": {"recovery_min_apply_delay": "60000"}}}, ["replay_delayed"]),
        ],
    )
    def test_why_a_commit_does_not_arrive(self, changes, codes):
        shown = conclude(**changes, round_trip=replace(TRIP, arrival_seconds={"pg2": 0.1, "pg3": None}))
        assert [finding.code for finding in shown.findings] == codes

    def test_a_commit_that_nobody_could_confirm(self):
        senders = tuple(replace(each, sync_state="async") for each in SENDERS)
        trip = RoundTrip(None, False, TRIP.arrival_seconds)
        shown = conclude(facts={"pg1": {"senders": senders}}, round_trip=trip)
        assert [finding.code for finding in shown.findings] == ["commits_hang"]

    def test_a_fenced_node_is_shown_and_no_fault(self):
        shown = conclude(
            answers={"pg3": Evidence.STOPPED},
            fenced=["pg3"],
            facts={"pg1": {"senders": (sender("pg2"),), "slots": (slot("pg2"),)}},
            settings={"pg1": {"synchronous_standby_names": 'ANY 1 ("pg2")'}},
            record={"synchronous": SynchronousReplication(SyncMode.QUORUM, ("pg2",))},
            round_trip=replace(TRIP, arrival_seconds={"pg2": 0.1}),
        )
        assert (shown.findings, shown.nodes[2].role) == ((), "fenced, stopped")


class TestVerdict:
    def test_warnings_leave_it_healthy_and_are_counted(self):
        shown = conclude(**OFF, settings={"pg1": {"synchronous_standby_names": ""}})
        assert (shown.health, shown.reason) == (Health.HEALTHY, "1 warning")

    def test_the_critical_ones_come_first(self):
        shown = conclude(settings={"pg3": {"archive_mode": "on", "max_connections": "50"}})
        assert [finding.code for finding in shown.findings] == ["below_primary", "drift"]

    @pytest.mark.parametrize(
        ("evidence", "code"),
        [
            (Evidence.STOPPED, ExitCode.REFUSED),
            (Evidence.REFUSED, ExitCode.UNKNOWN),
            (Evidence.SILENT, ExitCode.UNKNOWN),
        ],
    )
    def test_without_a_primary_it_is_unknown_unless_every_node_is_accounted_for(self, evidence, code):
        assert conclude(**DEAD | {"answers": {"pg1": evidence}}).health.exit_code is code

    def test_a_primary_that_stops_answering_makes_it_unknown(self):
        given = case(unexamined={"pg1": "no answer"})
        facts = {name: each for name, each in given.examination.facts.items() if name != "pg1"}
        shown = diagnose(replace(given.examination, facts=facts), given.record, LIMITS)
        assert (shown.health, [finding.code for finding in shown.findings]) == (Health.UNKNOWN, ["not_examined"])

    def test_a_line_for_each_node(self):
        lines = [(line.name, line.role, line.source, line.arrival_seconds) for line in conclude().nodes]
        assert lines == [
            ("pg1", "primary", None, 0.002),
            ("pg2", "replica", "pg1", 0.003),
            ("pg3", "replica", "pg1", 0.003),
        ]


class TestToDo:
    def test_existing_servers_get_lines_for_their_hosts(self):
        given = case(answers={"pg3": Evidence.REFUSED})
        nodes = tuple(replace(node, data_dir=None) for node in given.record.nodes)
        shown = diagnose(given.examination, replace(given.record, nodes=nodes), LIMITS)
        down = next(finding for finding in shown.findings if finding.code == "node_refused")
        assert down.to_do == (
            "on pg3's host: systemctl start postgresql",
            "manage.py setup_replication --existing",
        )

    def test_an_old_primary_is_never_just_started(self):
        given = case(answers={"pg1": Evidence.REFUSED, "pg2": replace(PRIMARY, timeline=2)}, primary="pg2", timeline=2)
        nodes = tuple(replace(node, data_dir=None) for node in given.record.nodes)
        shown = diagnose(given.examination, replace(given.record, nodes=nodes), LIMITS)
        down = next(finding for finding in shown.findings if finding.code == "node_refused")
        assert down.to_do == ("manage.py rejoin_node pg1",)

    def test_a_silent_primary_is_fenced_before_another_is_promoted(self):
        shown = conclude(**DEAD | {"answers": {"pg1": Evidence.SILENT}})
        assert shown.findings[0].to_do[0] == "manage.py fence_node pg1"
