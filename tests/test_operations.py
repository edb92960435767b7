"""Switching over, fencing and rejoining on real clusters, refused, interrupted and done."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from management.exit_codes import ExitCode
from management.history.run import run_history
from management.processes import wait_until
from management.record import save_record
from management.state import PROJECT_DIR
from routers.node import Role
from tests.cluster import Cluster, Outcome, temporary_state
from tests.faults import cut_off_and_kill
from tests.ports import free_ports
from tests.system import System

pytestmark = pytest.mark.replication

PLANNED = {
    "promote_replica": [],
    "switchover": [],
    "rejoin_node": ["pg3"],
    "fence_node": ["pg3"],
    "unfence_node": ["pg3"],
}


def run(cluster: Cluster, *arguments: str) -> Outcome:
    return cluster.command(*arguments, "--no-input", "--format=json")


def roles(cluster: Cluster) -> dict[str, Role | None]:
    return {name: found.status.role if found.status else None for name, found in cluster.survey().nodes.items()}


def is_healthy(cluster: Cluster) -> bool:
    """One node accepts writes, and a commit is confirmed; the others stream from it on its timeline."""
    survey = cluster.survey()
    if len(survey.writable) != 1 or survey.primary is None:
        return False
    others = [found for name, found in survey.nodes.items() if name != survey.primary]
    with cluster.superuser(survey.primary) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'test', 'commits do not hang')")
    return all(each.source == survey.primary and each.status.timeline == survey.timeline for each in others)


def becomes_healthy(cluster: Cluster) -> bool:
    return (
        wait_until(lambda: is_healthy(cluster), timeout_seconds=60)
        and cluster.command("diagnose_replication").code == 0
    )


def execute(cluster: Cluster, name: str, statement: str) -> list[Any]:
    with cluster.superuser(name) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def fail_over(cluster: Cluster) -> None:
    cluster.kill("pg1")
    assert run(cluster, "promote_replica").code == 0


@contextmanager
def writing(cluster: Cluster, name: str) -> Iterator[None]:
    """The node is written to without a pause: a rewound copy of it is then inconsistent until it has streamed."""
    is_over = threading.Event()

    def write() -> None:
        with cluster.superuser(name) as connection:
            connection.execute("CREATE TABLE load (number int)")
            while not is_over.is_set():
                connection.execute("INSERT INTO load SELECT generate_series(1, 1000)")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class TestSwitchover:
    def test_under_load_loses_nothing_and_fails_no_read(self, make_system):
        system: System = make_system()

        def there_and_back() -> None:
            for node in ("pg3", "pg1"):
                done = run(system, "switchover", f"--node={node}")
                assert done.code == 0, done.stderr
                time.sleep(1)

        report = run_history(system.url, seconds=8, sessions=4, during=there_and_back).report
        assert report.verdict.is_clean, report.verdict.violations
        assert is_healthy(system)
        assert system.survey().timeline == 3

    def test_leaves_no_slot_that_keeps_wal_for_ever(self, make_cluster):
        cluster = make_cluster(replicas=2)
        assert run(cluster, "switchover", "--node=pg2").code == 0
        slots = {
            name: {slot for (slot,) in execute(cluster, name, "SELECT slot_name FROM pg_replication_slots")}
            for name in ("pg1", "pg2", "pg3")
        }
        assert slots == {"pg1": set(), "pg2": {"pg1", "pg3"}, "pg3": set()}

    def test_refuses_what_cannot_take_over(self, make_cluster):
        cluster = make_cluster(replicas=2)
        assert "is the primary already" in run(cluster, "switchover", "--node=pg1").stderr
        with cluster.replay_paused("pg2"):
            execute(cluster, "pg1", "CREATE TABLE a AS SELECT generate_series(1, 1000)")
            behind = run(cluster, "switchover", "--node=pg2", "--max-lag-bytes=1000")
            assert (behind.code, "the limit is 1000" in behind.stderr) == (1, True)
        with cluster.frozen("pg3"):
            frozen = run(cluster, "switchover", "--node=pg3")
            assert (frozen.code, roles(cluster)["pg1"]) == (1, Role.PRIMARY), frozen.stderr
        cluster.kill("pg3")
        assert wait_until(
            lambda: "not a replica" in run(cluster, "switchover", "--node=pg3").stderr, timeout_seconds=60
        )
        cluster.start("pg3")
        assert becomes_healthy(cluster)

    def test_starts_the_old_primary_again_if_the_candidate_did_not_get_all(self, make_cluster):
        cluster = make_cluster(replicas=1, sync="off")
        execute(cluster, "pg1", "ALTER SYSTEM SET wal_sender_timeout = '1s'")
        execute(cluster, "pg1", "SELECT pg_reload_conf()")
        receiver = _child(cluster, "pg2", "walreceiver")
        receiver.suspend()
        execute(cluster, "pg1", "CREATE TABLE late (number int)")
        outcome = run(cluster, "switchover", "--max-lag-bytes=100000000")
        receiver.resume()
        assert (outcome.code, "nothing is lost" in outcome.stderr) == (ExitCode.REFUSED, True), outcome.stderr
        assert roles(cluster)["pg1"] is Role.PRIMARY
        assert execute(cluster, "pg1", "SELECT 1 FROM pg_class WHERE relname = 'late'")
        assert becomes_healthy(cluster)

    def test_a_dry_run_changes_nothing(self, cluster):
        before = (cluster.record, roles(cluster))
        outcome = cluster.command("switchover", "--dry-run", "--format=json")
        assert (outcome.code, json.loads(outcome.stdout)["old_primary"]) == (0, "pg1")
        assert (cluster.record, roles(cluster)) == before


class TestRejoin:
    def test_rewinds_what_diverged_and_keeps_its_wal(self, make_cluster):
        cluster = make_cluster(replicas=2, sync="off")
        execute(cluster, "pg1", "CREATE TABLE rows (number int)")
        assert wait_until(
            lambda: len(execute(cluster, "pg2", "SELECT 1 FROM pg_class WHERE relname = 'rows'")) == 1,
            timeout_seconds=10,
        )
        cut_off_and_kill(cluster, "pg1", meanwhile=lambda: execute(cluster, "pg1", "INSERT INTO rows VALUES (1)"))
        assert run(cluster, "promote_replica", "--accept-data-loss").code == 0
        execute(cluster, "pg2", "INSERT INTO rows VALUES (2)")
        with writing(cluster, "pg2"):
            outcome = run(cluster, "rejoin_node", "pg1")
        done = json.loads(outcome.stdout)
        assert (outcome.code, done["method"]) == (0, "rewind"), outcome.stderr
        assert becomes_healthy(cluster)
        assert execute(cluster, "pg1", "SELECT number FROM rows") == [(2,)]
        kept = Path(done["diverged_wal"])
        shown = subprocess.run(
            [cluster.record.host().installation.program("pg_waldump"), str(max(kept.glob("0*")))],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        assert "INSERT" in shown
        # Not every file of that timeline: most are recycled ones, and a drill a week would fill the disk.
        assert len(list(kept.glob("0*"))) <= 2

    def test_clones_anew_what_cannot_be_rewound(self, make_cluster):
        cluster = make_cluster(replicas=1)
        execute(cluster, "pg1", "CREATE TABLE rows AS SELECT 1 AS number")
        fail_over(cluster)
        for segment in (cluster.node("pg1").data_dir / "pg_wal").glob("0*"):
            segment.unlink()
        outcome = run(cluster, "rejoin_node", "pg1")
        assert (outcome.code, json.loads(outcome.stdout)["method"]) == (0, "reclone"), outcome.stderr
        assert becomes_healthy(cluster)
        assert "cannot be rewound" in outcome.stderr
        assert "its old data is in" in outcome.stderr

    def test_clones_anew_at_once_if_asked(self, make_cluster):
        cluster = make_cluster(replicas=1)
        outcome = run(cluster, "rejoin_node", "pg2", "--reclone")
        assert (outcome.code, json.loads(outcome.stdout)["method"]) == (0, "reclone"), outcome.stderr
        assert becomes_healthy(cluster)

    def test_a_second_primary_is_fenced_and_then_rejoins(self, make_cluster):
        cluster = make_cluster(replicas=2)
        fail_over(cluster)
        (cluster.node("pg1").data_dir / "standby.signal").unlink()
        cluster.start("pg1")
        refused = run(cluster, "rejoin_node", "pg1")
        assert (refused.code, "fence_node pg1" in refused.stderr) == (1, True)
        assert run(cluster, "fence_node", "pg1").code == 0
        assert roles(cluster)["pg1"] is None
        assert run(cluster, "rejoin_node", "pg1").code == 0
        assert becomes_healthy(cluster)

    def test_refuses_a_directory_that_is_not_proven_to_be_the_nodes_own(self, make_cluster):
        cluster, other = make_cluster(replicas=1), make_cluster(replicas=0)
        other.kill("pg1")
        fail_over(cluster)
        assert "its data is the cluster's" in run(cluster, "rejoin_node", "pg2").stderr
        record = cluster.record
        for path, words in (
            (other.record.nodes[0].data_dir, "is not this node's directory"),
            (record.nodes[1].data_dir, "is the directory of pg2, too"),
        ):
            nodes = (dataclasses.replace(record.nodes[0], data_dir=path), record.nodes[1])
            save_record(cluster.state, dataclasses.replace(record, nodes=nodes))
            refused = run(cluster, "rejoin_node", "pg1", "--reclone")
            assert (refused.code, words in refused.stderr) == (1, True), refused.stderr
        save_record(cluster.state, record)
        other.start("pg1")
        assert (roles(other)["pg1"], roles(cluster)["pg2"]) == (Role.PRIMARY, Role.PRIMARY)

    def test_does_not_touch_a_node_that_may_be_frozen(self, make_cluster):
        cluster = make_cluster(replicas=1, sync="off")
        with cluster.frozen("pg2"):
            assert run(cluster, "rejoin_node", "pg2").code == ExitCode.UNKNOWN


class TestFence:
    def test_a_replica_leaves_commits_alone_and_comes_back(self, make_cluster):
        cluster = make_cluster(replicas=2)
        assert run(cluster, "fence_node", "pg2").code == 0
        assert execute(cluster, "pg1", "SHOW synchronous_standby_names") == [('ANY 1 ("pg3")',)]
        assert cluster.command("setup_replication").code == 0
        assert roles(cluster)["pg2"] is None
        assert run(cluster, "unfence_node", "pg2").code == 0
        assert becomes_healthy(cluster)
        assert run(cluster, "unfence_node", "pg2").code == ExitCode.REFUSED

    def test_a_primary_only_with_the_outage_accepted(self, make_cluster):
        cluster = make_cluster(replicas=1)
        refused = run(cluster, "fence_node", "pg1")
        assert (refused.code, roles(cluster)["pg1"]) == (1, Role.PRIMARY)
        assert run(cluster, "fence_node", "pg1", "--accept-outage").code == 0
        assert roles(cluster)["pg1"] is None
        assert run(cluster, "promote_replica").code == 0
        diverged = run(cluster, "unfence_node", "pg1")
        assert (diverged.code, "rejoin_node pg1" in diverged.stderr) == (1, True)
        assert run(cluster, "rejoin_node", "pg1").code == 0
        assert becomes_healthy(cluster)

    def test_a_frozen_node_is_ended(self, make_cluster):
        cluster = make_cluster(replicas=2)
        with cluster.frozen("pg3"):
            assert run(cluster, "fence_node", "pg3").code == 0
        assert roles(cluster)["pg3"] is None


class TestRefusals:
    @pytest.mark.parametrize("command", sorted(PLANNED))
    def test_while_another_command_is_at_work(self, cluster, command):
        with cluster.state.lock():
            outcome = run(cluster, command, *PLANNED[command])
        assert outcome.code == ExitCode.REFUSED
        assert "Another command" in outcome.stderr

    def test_a_set_up_while_another_command_is_at_work(self, cluster):
        with cluster.state.lock():
            outcome = cluster.command("setup_replication")
        assert (outcome.code, "Another command" in outcome.stderr) == (ExitCode.REFUSED, True)

    def test_a_set_up_over_a_directory_that_exists(self):
        with temporary_state() as state:
            theirs = state.root / "nodes" / "pg1" / "theirs"
            theirs.parent.mkdir(parents=True)
            theirs.write_text("mine")
            outcome = Cluster(state).command("setup_replication", f"--base-port={free_ports(3)}")
            assert (outcome.code, "is never overwritten" in outcome.stderr) == (ExitCode.REFUSED, True)
            assert theirs.read_text() == "mine"

    @pytest.mark.parametrize("command", sorted(PLANNED))
    def test_where_patroni_rules(self, cluster, command):
        file = cluster.node("pg1").data_dir / "patroni.dynamic.json"
        file.write_text("{}")
        cluster.record.host().own(file)
        try:
            outcome = run(cluster, command, *PLANNED[command])
        finally:
            file.unlink()
        assert outcome.code == ExitCode.REFUSED
        # unfence_node has looked at the record first.
        assert "Patroni" in outcome.stderr or command == "unfence_node"

    @pytest.mark.parametrize("command", sorted(PLANNED))
    def test_without_a_terminal_nothing_is_done_unasked(self, cluster, command):
        before = roles(cluster)
        assert cluster.command(command, *PLANNED[command], stdin="").code == ExitCode.REFUSED
        assert roles(cluster) == before

    @pytest.mark.parametrize("command", sorted(PLANNED))
    def test_of_an_unknown_node(self, cluster, command):
        wanted = ["pg9"] if PLANNED[command] else ["--node=pg9"]
        outcome = run(cluster, command, *wanted)
        assert (outcome.code, "There is no node pg9" in outcome.stderr) == (1, True)


def killed_after(cluster: Cluster, lines: int, *arguments: str) -> bool:
    """Kill -9 the command when it has said so many lines of progress; False if it ended before."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_DIR,
        env=cluster.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = 0
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            said += not line.startswith(("Plan:", " "))
            if said == lines:
                process.kill()
                return True
    return False


class TestKilled:
    """A command that is killed after any line it says can be run again, and converges."""

    @pytest.mark.parametrize("lines", [pytest.param(n, marks=[] if n == 3 else pytest.mark.slow) for n in range(1, 9)])
    def test_promote_replica(self, make_cluster, lines):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg1")
        if killed_after(cluster, lines, "promote_replica", "--no-input"):
            again = run(cluster, "promote_replica")
            assert again.code == 0, again.stderr
        assert run(cluster, "rejoin_node", "pg1").code == 0
        assert becomes_healthy(cluster)

    @pytest.mark.parametrize("lines", [pytest.param(n, marks=[] if n == 4 else pytest.mark.slow) for n in range(1, 9)])
    def test_switchover(self, make_cluster, lines):
        cluster = make_cluster(replicas=2)
        if (
            killed_after(cluster, lines, "switchover", "--node=pg2", "--no-input")
            and roles(cluster)["pg1"] is not Role.PRIMARY
        ):
            again = run(cluster, "switchover")
            assert again.code == 0, again.stderr
        assert becomes_healthy(cluster)

    @pytest.mark.parametrize("lines", [pytest.param(n, marks=[] if n == 2 else pytest.mark.slow) for n in range(1, 7)])
    def test_rejoin_node(self, make_cluster, lines):
        cluster = make_cluster(replicas=1)
        fail_over(cluster)
        if killed_after(cluster, lines, "rejoin_node", "pg1", "--no-input"):
            again = run(cluster, "rejoin_node", "pg1")
            assert again.code == 0, again.stderr
        assert becomes_healthy(cluster)

    @pytest.mark.parametrize("lines", [pytest.param(n, marks=[] if n == 4 else pytest.mark.slow) for n in range(1, 8)])
    def test_setup_replication(self, lines):
        with temporary_state() as state:
            cluster = Cluster(state)
            arguments = ["setup_replication", f"--base-port={free_ports(3)}"]
            killed_after(cluster, lines, *arguments)
            again = cluster.command(*arguments)
            try:
                assert again.code == 0, again.stderr
                assert becomes_healthy(cluster)
            finally:
                cluster.destroy()

    @pytest.mark.slow
    @pytest.mark.parametrize("lines", [1, 2])
    def test_fence_and_unfence_node(self, make_cluster, lines):
        cluster = make_cluster(replicas=2)
        if killed_after(cluster, lines, "fence_node", "pg3", "--no-input"):
            assert run(cluster, "fence_node", "pg3").code == 0
        if killed_after(cluster, lines, "unfence_node", "pg3", "--no-input"):
            assert run(cluster, "rejoin_node", "pg3").code == 0
        assert becomes_healthy(cluster)


def _child(cluster: Cluster, name: str, title: str) -> psutil.Process:
    children = psutil.Process(cluster.node(name).pid()).children(recursive=True)
    return next(child for child in children if title in " ".join(child.cmdline()))


class TestDrill:
    def test_kills_promotes_rejoins_and_writes_it_down(self, make_system):
        system: System = make_system()
        for number in (1, 2):
            outcome = run(system, "drill_failover", "--seconds=5")
            assert outcome.code == 0, outcome.stdout + outcome.stderr
            report = json.loads(outcome.stdout)
            assert (report["acknowledged_writes_lost"], report["failed_reads"], report["rejoined_by"]) == (
                0,
                0,
                "rewind",
            )
            assert report["seconds_without_writes"] > 0
            assert becomes_healthy(system)
            assert len(system.state.drills.read_text().splitlines()) == number

    def test_refuses_a_cluster_that_is_not_in_order(self, make_system):
        system: System = make_system()
        system.kill("pg3")
        outcome = run(system, "drill_failover")
        assert (outcome.code, "pg3 does not stream" in outcome.stderr) == (1, True)
        assert roles(system)["pg1"] is Role.PRIMARY
