"""The commands on a real cluster, by their exit codes and by what the nodes say afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from management.credentials import read_env_file
from management.processes import wait_until
from management.state import PROJECT_DIR
from routers.node import Role
from tests.cluster import Cluster, temporary_state

pytestmark = pytest.mark.replication


def report(cluster: Cluster, *arguments: str):
    outcome = cluster.command("check_lag", "--format=json", *arguments)
    return outcome.code, json.loads(outcome.stdout)


def names(cluster: Cluster) -> dict[str, Role | None]:
    return {name: found.status.role if found.status else None for name, found in cluster.survey().nodes.items()}


class TestCheckLag:
    def test_a_healthy_cluster(self, cluster):
        code, shown = report(cluster)
        states = [(replica["state"], replica["sync_state"]) for replica in shown["replicas"]]
        assert (code, shown["health"], states) == (0, "healthy", [("streaming", "quorum")] * 2)

    def test_a_paused_replica_is_beyond_its_limit(self, cluster):
        with cluster.replay_paused("pg3"), cluster.superuser("pg1") as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 5000))")
            code, shown = report(cluster, "--max-lag-bytes=4000")
        assert (code, [replica["health"] for replica in shown["replicas"]]) == (1, ["healthy", "unhealthy"])

    def test_a_dead_replica_and_a_dead_primary(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg3")
        code, shown = report(cluster)
        assert (code, shown["reason"]) == (1, "pg3: does not answer (stopped)")
        cluster.kill("pg1")
        assert report(cluster)[0] == 4

    def test_without_a_cluster_says_what_to_run(self):
        with temporary_state() as state:
            outcome = Cluster(state).command("check_lag")
        assert (outcome.code, "setup_replication" in outcome.stderr) == (1, True)

    def test_a_wrong_option_is_a_usage_error(self, cluster):
        assert cluster.command("check_lag", "--max-lag-bytes=x").code == 2


class TestSetupReplication:
    def test_is_safe_to_repeat(self, cluster):
        before = {name: cluster.node(name).pid() for name in ("pg1", "pg2", "pg3")}
        assert cluster.command("setup_replication").code == 0
        assert {name: cluster.node(name).pid() for name in before} == before

    def test_starts_what_was_killed(self, make_cluster):
        cluster = make_cluster(replicas=1)
        cluster.kill("pg1")
        cluster.kill("pg2")
        assert cluster.command("setup_replication").code == 0
        assert names(cluster) == {"pg1": Role.PRIMARY, "pg2": Role.REPLICA}

    def test_adds_a_replica(self, make_cluster):
        cluster = make_cluster(replicas=0)
        cluster.setup(replicas=1)
        assert names(cluster) == {"pg1": Role.PRIMARY, "pg2": Role.REPLICA}
        assert "pg2=" in read_env_file(cluster.state.application_env)["HIGHLOAD_NODES"]

    def test_goes_on_where_a_set_up_broke_off(self, make_cluster):
        cluster = make_cluster(replicas=1)
        cluster.node("pg2").stop()
        data = cluster.node("pg2").data_dir
        # As if killed in the middle of the base backup: a building directory and no node.
        data.rename(data.with_name(".pg2.building"))
        assert cluster.command("setup_replication").code == 0
        assert names(cluster)["pg2"] is Role.REPLICA

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--replicas=1"], "would remove some"),
            (["--replicas=99"], "choose 0 to 8"),
            (["--base-port=9"], "--base-port cannot change it"),
            (["--reclone=pg1"], "pg1 is the primary"),
            (["--reclone=pg9"], "There is no node pg9"),
            (["--replicas=-1"], "choose 0 to 8"),
        ],
    )
    def test_refuses_what_would_lose_something(self, cluster, arguments, message):
        before = cluster.record
        outcome = cluster.command("setup_replication", *arguments)
        assert (outcome.code, message in outcome.stderr, cluster.record) == (1, True, before)

    def test_refuses_two_primaries_of_one_timeline(self, make_cluster):
        cluster = make_cluster(replicas=1)
        for name in ("pg1", "pg2"):
            cluster.node(name).stop()
        (cluster.node("pg2").data_dir / "standby.signal").unlink()
        outcome = cluster.command("setup_replication")
        assert (outcome.code, "pg1 and pg2 are both primaries of timeline 1" in outcome.stderr) == (1, True)
        assert names(cluster) == {"pg1": None, "pg2": None}

    @pytest.mark.parametrize("file", ["operator_env", "application_env"])
    def test_refuses_to_make_new_secrets_for_old_data(self, make_cluster, file):
        cluster = make_cluster(replicas=0)
        path = getattr(cluster.state, file)
        kept = path.read_text()
        path.unlink()
        outcome = cluster.command("setup_replication")
        assert (outcome.code, "Restore the file" in outcome.stderr) == (1, True)
        path.write_text(kept)

    def test_without_a_primary_starts_the_replicas_so_that_one_can_be_promoted(self, make_cluster):
        cluster = make_cluster(replicas=1)
        for name in ("pg1", "pg2"):
            cluster.node(name).stop()
        lost = cluster.node("pg1").data_dir
        lost.rename(lost.with_name("lost"))
        outcome = cluster.command("setup_replication")
        assert (outcome.code, "promote_replica" in outcome.stderr) == (3, True)
        assert cluster.command("promote_replica", "--no-input").code == 0
        assert names(cluster)["pg2"] is Role.PRIMARY

    def test_a_diverged_replica_is_reported_and_never_made_synchronous(self, make_cluster):
        cluster = make_cluster(replicas=2)
        # pg3 dies; pg2 and pg1 write on, and die; pg3 is promoted without what they have.
        cluster.kill("pg3")
        with cluster.superuser("pg1") as connection:
            connection.execute("CREATE TABLE lost AS SELECT generate_series(1, 1000)")
        cluster.node("pg1").stop()
        cluster.kill("pg2")
        cluster.start("pg3")
        assert cluster.command("promote_replica", "--no-input", "--accept-data-loss").code == 0
        outcome = cluster.command("setup_replication", "--timeout=3")
        assert (outcome.code, "pg2" in outcome.stderr, "--reclone" in outcome.stderr) == (3, True, True)
        assert cluster.record.synchronous.names == ()
        assert cluster.command("setup_replication", "--reclone=pg2").code == 0
        assert names(cluster)["pg2"] is Role.REPLICA

    @pytest.mark.parametrize(
        ("mode", "states"),
        [("first", ["sync", "potential"]), ("quorum", ["quorum", "quorum"]), ("off", ["async", "async"])],
    )
    def test_sets_the_mode_that_is_asked_for(self, make_cluster, mode, states):
        cluster = make_cluster(replicas=2)
        assert cluster.command("setup_replication", f"--sync={mode}").code == 0
        assert wait_until(
            lambda: [replica["sync_state"] for replica in report(cluster)[1]["replicas"]] == states, timeout_seconds=60
        )


class TestPromoteReplica:
    def test_refuses_while_the_primary_is_alive_and_changes_nothing(self, cluster):
        outcome = cluster.command("promote_replica", "--no-input", "--accept-data-loss")
        assert (outcome.code, "pg1 accepts writes" in outcome.stderr) == (1, True)
        assert names(cluster) == {"pg1": Role.PRIMARY, "pg2": Role.REPLICA, "pg3": Role.REPLICA}

    def test_refuses_while_the_primary_is_frozen(self, make_cluster):
        cluster = make_cluster(replicas=1)
        with cluster.frozen("pg1"):
            outcome = cluster.command("promote_replica", "--no-input")
            assert (outcome.code, "pg1 is silent, which does not prove that it is dead" in outcome.stderr) == (4, True)
        assert names(cluster)["pg2"] is Role.REPLICA

    def test_a_dry_run_changes_nothing(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg1")
        before = (cluster.record, cluster.node("pg1").is_standby, names(cluster))
        outcome = cluster.command("promote_replica", "--dry-run", "--format=json")
        assert (outcome.code, json.loads(outcome.stdout)["candidate"]) == (0, "pg2")
        assert (cluster.record, cluster.node("pg1").is_standby, names(cluster)) == before

    def test_without_a_terminal_it_does_not_act_unasked(self, make_cluster):
        cluster = make_cluster(replicas=1)
        cluster.kill("pg1")
        outcome = cluster.command("promote_replica", stdin="")
        assert (outcome.code, names(cluster)["pg2"]) == (1, Role.REPLICA)

    def test_leaves_one_primary_that_commits_a_replica_that_follows_and_a_fence(self, make_cluster):
        cluster = make_cluster(replicas=2)
        with cluster.superuser("pg1") as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with cluster.superuser("pg2") as connection:
            # As a base backup inherits it: the candidate waits for itself, which is nobody's replica any more.
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (pg2)'")
            connection.execute("SELECT pg_reload_conf()")
        cluster.kill("pg1")
        outcome = cluster.command("promote_replica", "--no-input", "--format=json")
        assert outcome.code == 0, outcome.stderr
        done = json.loads(outcome.stdout)
        assert (done["timeline"], done["streaming"]) == (2, ["pg3"])
        assert names(cluster) == {"pg1": None, "pg2": Role.PRIMARY, "pg3": Role.REPLICA}
        with cluster.superuser("pg2") as connection:
            assert connection.execute("SHOW synchronous_standby_names").fetchone() == ('ANY 1 ("pg3")',)
            connection.execute("SET synchronous_commit = on")
            connection.execute("INSERT INTO kept VALUES (43)")
        with cluster.superuser("pg3") as connection:
            assert wait_until(
                lambda: connection.execute("SELECT sum(answer) FROM kept").fetchone() == (85,), timeout_seconds=60
            )
        # The old primary, started by accident, does not accept writes.
        cluster.start("pg1")
        assert names(cluster)["pg1"] is Role.REPLICA

    def test_refuses_to_lose_commits_when_the_synchronous_replica_is_dead_too(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg2")
        cluster.kill("pg1")
        refused = cluster.command("promote_replica", "--no-input")
        assert (refused.code, "--accept-data-loss" in refused.stderr) == (1, True)
        assert names(cluster)["pg3"] is Role.REPLICA
        accepted = cluster.command("promote_replica", "--no-input", "--accept-data-loss")
        assert (accepted.code, names(cluster)["pg3"]) == (0, Role.PRIMARY)

    def test_the_fenced_node_comes_back_as_a_replica_and_its_data_is_kept(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg1")
        assert cluster.command("promote_replica", "--no-input").code == 0
        outcome = cluster.command("setup_replication", "--reclone=pg1")
        assert outcome.code == 0, outcome.stderr
        assert names(cluster) == {"pg1": Role.REPLICA, "pg2": Role.PRIMARY, "pg3": Role.REPLICA}
        assert report(cluster)[0] == 0
        assert len(list(cluster.node("pg1").data_dir.parent.glob("pg1.before-*"))) == 1

    def test_goes_on_after_an_interruption(self, make_cluster):
        cluster = make_cluster(replicas=2)
        cluster.kill("pg1")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "promote_replica", "--no-input"],
            cwd=PROJECT_DIR,
            env=cluster.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "pg3 follows pg2" in line:
                process.kill()
                break
        process.communicate()
        if cluster.survey().primary is None:
            outcome = cluster.command("promote_replica", "--no-input")
            assert outcome.code == 0, outcome.stderr
        assert names(cluster)["pg2"] is Role.PRIMARY

    def test_a_frozen_primary_taken_for_fenced_starts_read_only_afterwards(self, make_cluster):
        cluster = make_cluster(replicas=2)
        with cluster.frozen("pg1"):
            outcome = cluster.command("promote_replica", "--no-input", "--assume-fenced=pg1")
            assert outcome.code == 0, outcome.stderr
            assert names(cluster) == {"pg1": None, "pg2": Role.PRIMARY, "pg3": Role.REPLICA}
        cluster.start("pg1")
        assert names(cluster)["pg1"] is Role.REPLICA

    def test_twice_in_a_row(self, make_cluster):
        cluster = make_cluster(replicas=2)
        for dead, heir in (("pg1", "pg2"), ("pg2", "pg3")):
            cluster.kill(dead)
            outcome = cluster.command("promote_replica", "--no-input")
            assert (outcome.code, names(cluster)[heir]) == (0, Role.PRIMARY), outcome.stderr
        assert cluster.survey().timeline == 3


class TestExistingServers:
    """The same servers, but known only by address: a second state directory without their data."""

    @pytest.fixture
    def elsewhere(self, make_cluster):
        cluster = make_cluster(replicas=1)
        with temporary_state() as state:
            for file in ("application_env", "operator_env"):
                shutil.copy(getattr(cluster.state, file), getattr(state, file))
            yield cluster, Cluster(state)

    def test_are_adopted_and_checked(self, elsewhere):
        _, remote = elsewhere
        outcome = remote.command("setup_replication", "--existing", "--sync=first")
        assert (outcome.code, "replicas that stream: pg2" in outcome.stdout) == (0, True), outcome.stderr
        assert remote.record.nodes[0].data_dir is None
        assert wait_until(lambda: report(remote)[1]["replicas"][0]["sync_state"] == "sync", timeout_seconds=60)

    def test_a_node_that_is_no_replica_yet_gets_the_exact_lines_and_no_slot(self, elsewhere):
        cluster, remote = elsewhere
        cluster.node("pg2").stop()
        with cluster.superuser("pg1") as connection:
            connection.execute("SELECT pg_drop_replication_slot('pg2')")
            outcome = remote.command("setup_replication", "--existing")
            assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
        assert outcome.code == 3
        assert "pg_basebackup --pgdata" in outcome.stdout
        assert "--create-slot --slot=pg2" in outcome.stdout

    def test_a_dry_run_only_looks(self, elsewhere):
        _, remote = elsewhere
        outcome = remote.command("setup_replication", "--existing", "--dry-run", "--format=json")
        assert (outcome.code, json.loads(outcome.stdout)["streaming"]) == (0, ["pg2"])
        assert not remote.state.record.exists()

    def test_a_replica_with_less_room_than_the_primary_is_refused(self, elsewhere):
        cluster, remote = elsewhere
        with cluster.superuser("pg1") as connection:
            connection.execute("ALTER SYSTEM SET max_locks_per_transaction = 90")
        cluster.node("pg1").stop()
        cluster.start("pg1")
        outcome = remote.command("setup_replication", "--existing")
        assert (outcome.code, "ALTER SYSTEM SET max_locks_per_transaction = 90" in outcome.stderr) == (1, True)

    def test_are_promoted_without_access_to_their_hosts(self, elsewhere):
        cluster, remote = elsewhere
        assert remote.command("setup_replication", "--existing", "--sync=first").code == 0
        cluster.kill("pg1")
        outcome = remote.command("promote_replica", "--no-input")
        assert outcome.code == 0, outcome.stderr
        assert "touch $PGDATA/standby.signal" in outcome.stderr
        assert names(cluster)["pg2"] is Role.PRIMARY

    def test_one_that_was_fenced_and_is_cloned_anew_may_be_promoted_again(self, elsewhere):
        cluster, remote = elsewhere
        assert remote.command("setup_replication", "--existing", "--sync=first").code == 0
        cluster.kill("pg1")
        assert remote.command("promote_replica", "--no-input").code == 0
        assert remote.record.node("pg1").fenced
        assert cluster.command("setup_replication", "--reclone=pg1").code == 0
        assert remote.command("setup_replication", "--existing", "--sync=first").code == 0
        assert not remote.record.node("pg1").fenced
