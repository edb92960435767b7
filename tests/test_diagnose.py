"""`diagnose_replication` on real clusters: what it finds, how it ends, and that nothing makes it hang."""

from __future__ import annotations

import json
import time

import psycopg
import pytest

from management.connection import connect
from management.credentials import operator_credentials
from management.processes import wait_until
from tests.cluster import Cluster

pytestmark = pytest.mark.replication

HOST_DEPENDENT = {"disk_low"}
"""The disk of the machine that runs the tests is its owner's affair."""


def diagnose(cluster: Cluster, *arguments: str):
    outcome = cluster.command("diagnose_replication", "--format=json", *arguments)
    assert outcome.stdout, outcome.stderr
    shown = json.loads(outcome.stdout)
    codes = [(each["code"], each["node"]) for each in shown["findings"] if each["code"] not in HOST_DEPENDENT]
    return outcome.code, shown, codes


def reconfigure(cluster: Cluster, node: str, setting: str, value: str) -> None:
    with cluster.superuser(node) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")
        assert wait_until(
            lambda: connection.execute(f"SHOW {setting}".encode()).fetchone() == (value,), timeout_seconds=60
        )


class TestHealthy:
    def test_finds_nothing_and_times_the_way_to_each_replica(self, cluster):
        code, shown, codes = diagnose(cluster)
        assert (code, shown["health"], codes) == (0, "healthy", [])
        assert [(node["name"], node["role"], node["source"]) for node in shown["nodes"]] == [
            ("pg1", "primary", None),
            ("pg2", "replica", "pg1"),
            ("pg3", "replica", "pg1"),
        ]
        assert all(0 < node["arrival_seconds"] < 5 for node in shown["nodes"])

    def test_leaves_no_table_behind(self, cluster):
        def relations():
            with cluster.superuser("pg1") as connection:
                return connection.execute("SELECT array_agg(oid ORDER BY oid) FROM pg_class").fetchone()

        before = relations()
        assert diagnose(cluster)[0] == 0
        assert relations() == before

    def test_writes_nothing_when_told_so(self, cluster):
        _, shown, codes = diagnose(cluster, "--no-write")
        assert ([node["arrival_seconds"] for node in shown["nodes"]], codes) == ([None] * 3, [])

    def test_in_words(self, cluster):
        outcome = cluster.command("diagnose_replication")
        assert outcome.stdout.startswith("healthy")
        assert "streams from" in outcome.stdout

    def test_a_paused_replica(self, cluster):
        with cluster.replay_paused("pg3"):
            code, shown, codes = diagnose(cluster, "--timeout=1")
        assert (code, codes, shown["nodes"][2]["arrival_seconds"]) == (1, [("replay_paused", "pg3")], None)


class TestReplicas:
    def test_one_is_dead(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg3")
        code, _, codes = diagnose(cluster)
        assert (code, codes) == (
            1,
            [("node_stopped", "pg3"), ("no_safe_candidate", None), ("sync_absent", "pg3"), ("slot_inactive", "pg3")],
        )

    def test_one_has_lost_its_slot(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.node("pg3").stop()
        with cluster.superuser("pg1") as connection:
            connection.execute("SELECT pg_drop_replication_slot('pg3')")
        cluster.start("pg3")
        code, _, codes = diagnose(cluster)
        assert (code, codes[:2]) == (1, [("not_connected", "pg3"), ("slot_missing", "pg3")])
        # What the finding says helps.
        assert cluster.command("setup_replication").code == 0
        assert diagnose(cluster)[2] == []

    def test_one_follows_another_replica(self, make_cluster):
        cluster = make_cluster(replicas=2)
        with cluster.superuser("pg3") as connection:
            row = connection.execute("SHOW primary_conninfo").fetchone()
        port = cluster.record.node("pg1").port, cluster.record.node("pg2").port
        with cluster.superuser("pg2") as connection:
            connection.execute("SELECT pg_create_physical_replication_slot('pg3')")
        reconfigure(cluster, "pg3", "primary_conninfo", row[0].replace(str(port[0]), str(port[1])))
        assert wait_until(lambda: cluster.survey().nodes["pg3"].source == "pg2", timeout_seconds=60)
        code, _, codes = diagnose(cluster)
        assert (code, codes[0]) == (1, ("wrong_source", "pg3"))


class TestPrimary:
    def test_it_is_dead(self, make_cluster):
        cluster = make_cluster(replicas=1)
        cluster.kill("pg1")
        # Its process is known to be gone, so it is known that nobody accepts writes: not 4 but 1.
        code, shown, codes = diagnose(cluster)
        assert (code, codes) == (1, [("no_primary", None), ("node_stopped", "pg1")])
        assert "manage.py promote_replica" in shown["findings"][0]["to_do"]

    def test_it_is_frozen(self, make_cluster):
        cluster = make_cluster(replicas=1)
        with cluster.frozen("pg1"):
            code, shown, codes = diagnose(cluster)
        assert (code, shown["health"]) == (4, "unknown")
        assert codes == [("no_primary", None), ("no_candidate", None), ("node_silent", "pg1")]

    def test_there_are_two(self, make_cluster):
        cluster = make_cluster(replicas=2)
        with cluster.superuser("pg2") as connection:
            connection.execute("SELECT pg_promote()")
        code, shown, codes = diagnose(cluster, "--timeout=1")
        assert (code, codes[0]) == (1, ("split_brain", None))
        assert shown["findings"][0]["what"] == "pg1 (timeline 1) and pg2 (timeline 2) accept writes"
        assert ("other_primary", "pg2") in codes


class TestOneNodeAlone:
    def test_what_its_files_settings_slots_and_archive_say(self, make_cluster):
        cluster = make_cluster(replicas=0)
        data_dir = cluster.node("pg1").data_dir
        (data_dir / "patroni.dynamic.json").touch()
        for setting, value in (("max_slot_wal_keep_size", "-1"), ("archive_mode", "on"), ("archive_command", "false")):
            with cluster.superuser("pg1") as connection:
                connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'".encode())
        cluster.node("pg1").stop()
        cluster.start("pg1")
        (data_dir / "standby.signal").touch()
        with cluster.superuser("pg1") as connection:
            connection.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
            connection.execute("ALTER SYSTEM SET max_connections = 50")
            connection.execute("SELECT pg_reload_conf(), pg_switch_wal()")
            assert wait_until(
                lambda: connection.execute("SELECT failed_count > 0 FROM pg_stat_archiver").fetchone() == (True,),
                timeout_seconds=10,
            )
        code, _, codes = diagnose(cluster)
        expected = "archive_fails standby_signal patroni slot_of_nobody wal_unlimited pending_restart"
        assert (code, {each for each, _ in codes}) == (0, {"no_candidate", *expected.split()})


class TestNothingMakesItHang:
    def test_a_list_of_ghosts(self, make_cluster):
        cluster = make_cluster(replicas=1)
        reconfigure(cluster, "pg1", "synchronous_standby_names", "ghost")
        code, shown, codes = diagnose(cluster)
        assert (code, codes[0], ("sync_absent", None) in codes) == (1, ("commits_hang", "pg1"), True)
        # Nobody would confirm it, so nobody was asked to; it came to the replica all the same.
        assert [node["arrival_seconds"] is None for node in shown["nodes"]] == [True, False]

    def test_a_replica_that_freezes(self, make_cluster):
        cluster = make_cluster(replicas=1)
        with cluster.frozen("pg2"):
            started = time.monotonic()
            code, _, codes = diagnose(cluster, "--timeout=1")
            assert (code, [each for each, _ in codes][:3]) == (
                1,
                ["no_candidate", "node_silent", "commit_unconfirmed"],
            )
            # The commit of before still waits: another would only join it.
            code, _, codes = diagnose(cluster, "--timeout=1")
            assert (code, ("commits_hang", "pg1") in codes) == (1, True)
            with cluster.superuser("pg1") as connection:
                waiting = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                assert waiting.fetchone() == (1,)
            assert time.monotonic() - started < 60
        assert wait_until(lambda: diagnose(cluster)[0] == 0, timeout_seconds=60)

    def test_a_node_that_freezes_while_it_is_asked(self, make_cluster):
        cluster = make_cluster(replicas=0)
        login = operator_credentials(cluster.state).superuser
        started = time.monotonic()
        with (
            pytest.raises(psycopg.OperationalError),
            connect(cluster.record.node("pg1"), login, timeout_seconds=0.5) as connection,
            cluster.frozen("pg1"),
        ):
            connection.execute("SELECT 1")
        assert time.monotonic() - started < 60
