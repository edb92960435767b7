import pytest
from django.conf import settings

from management.credentials import monitor_login
from management.processes import wait_until
from routers import health
from routers.conf import RoutingSettings
from routers.health import HealthMonitor
from routers.node import Condition

pytestmark = pytest.mark.replication


@pytest.fixture
def watch():
    """Monitors of clusters of one's own."""
    started = []

    def start(cluster, **changes) -> HealthMonitor:
        login = monitor_login(cluster.state)
        conf = RoutingSettings(
            nodes=tuple(node.name for node in cluster.record.nodes), probe_interval_seconds=0.05, **changes
        )
        monitor = HealthMonitor(
            conf,
            {
                node.name: {
                    "host": node.host,
                    "port": node.port,
                    "dbname": "postgres",
                    "user": login.role,
                    "password": login.password,
                }
                for node in cluster.record.nodes
            },
        )
        monitor.start()
        started.append(monitor)
        return monitor

    yield start
    for monitor in started:
        monitor.stop()


def becomes(monitor: HealthMonitor, alias: str, *conditions: Condition) -> bool:
    return wait_until(lambda: monitor.topology.nodes[alias].condition in conditions, timeout_seconds=60)


class TestProber:
    def test_asks_no_node_less_safely_than_the_application_reads_it(self, cluster, monkeypatch):
        health.stop_monitor()
        monkeypatch.setitem(settings.DATABASES["pg2"]["OPTIONS"], "sslmode", "require")
        node = health.topology().nodes["pg2"]
        health.stop_monitor()
        assert (node.condition, "does not support SSL" in node.reason) == (Condition.UNREACHABLE, True)


class TestHealthMonitor:
    def test_the_first_snapshot_is_complete(self, cluster, watch):
        seen = watch(cluster).topology
        assert (seen.primary, seen.good_replicas) == ("pg1", ("pg2", "pg3"))

    def test_a_suspect_is_ejected_at_once_and_readmitted_by_probing(self, cluster, watch):
        monitor = watch(cluster)
        monitor.suspect("pg2", "a query failed")
        assert monitor.topology.nodes["pg2"].condition is not Condition.GOOD
        assert becomes(monitor, "pg2", Condition.GOOD)

    def test_a_killed_replica_is_ejected_and_comes_back(self, make_cluster, watch):
        cluster = make_cluster(replicas=1, sync="off")
        monitor = watch(cluster)
        cluster.kill("pg2")
        assert becomes(monitor, "pg2", Condition.UNREACHABLE)
        cluster.start("pg2")
        assert becomes(monitor, "pg2", Condition.GOOD)

    def test_a_frozen_replica_is_ejected_and_comes_back(self, cluster, watch):
        monitor = watch(cluster)
        with cluster.frozen("pg3"):
            assert becomes(monitor, "pg3", Condition.UNREACHABLE)
        assert becomes(monitor, "pg3", Condition.GOOD)

    def test_a_paused_replica_lags_in_time_and_recovers(self, cluster, watch):
        monitor = watch(cluster, max_lag_seconds=0.5)
        with cluster.replay_paused("pg3"), cluster.superuser("pg1") as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'test', 'x')")
            assert becomes(monitor, "pg3", Condition.LAGGING)
        assert becomes(monitor, "pg3", Condition.GOOD)

    def test_a_replica_that_shows_less_after_a_crash_must_catch_up_first(self, make_cluster, watch):
        cluster = make_cluster(replicas=2)
        monitor = watch(cluster)
        with cluster.superuser("pg3") as replica:
            # In force from its next start on: it then shows no more than it had written to its files.
            replica.execute("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
        with cluster.superuser("pg1") as connection:
            connection.execute("CREATE TABLE seen (number int)")
        assert becomes(monitor, "pg3", Condition.GOOD)
        cluster.kill("pg3")
        assert becomes(monitor, "pg3", Condition.UNREACHABLE)
        cluster.start("pg3")
        assert wait_until(lambda: "before it serves again" in monitor.topology.nodes["pg3"].reason, timeout_seconds=60)
        with cluster.superuser("pg3") as replica:
            replica.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
            replica.execute("SELECT pg_reload_conf()")
        assert becomes(monitor, "pg3", Condition.GOOD)

    def test_a_timeline_that_a_client_has_seen_unmasks_an_old_primary(self, cluster, watch):
        monitor = watch(cluster)
        assert monitor.learn_timeline(1).primary == "pg1"
        learnt = monitor.learn_timeline(2)
        assert (learnt.primary, learnt.nodes["pg1"].condition) == (None, Condition.FENCED)

    def test_an_idle_primary_makes_nobody_lag(self, cluster, watch):
        monitor = watch(cluster, max_lag_seconds=0.2)
        assert not wait_until(
            lambda: Condition.LAGGING in {node.condition for node in monitor.topology.nodes.values()},
            timeout_seconds=1.5,
        )

    def test_a_new_process_does_not_believe_an_old_primary(self, make_cluster, watch, tmp_path):
        cluster = make_cluster(replicas=1)
        file = str(tmp_path / "history.json")
        watch(cluster, history_file=file)
        cluster.kill("pg1")
        assert cluster.command("promote_replica", "--no-input").code == 0
        assert watch(cluster, history_file=file).topology.primary == "pg2"
        cluster.kill("pg2")
        (cluster.node("pg1").data_dir / "standby.signal").unlink()
        cluster.start("pg1")
        assert watch(cluster, history_file=file).topology.primary is None
        # The control: without the memory it would be believed.
        assert watch(cluster).topology.primary == "pg1"
