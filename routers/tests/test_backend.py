"""The backend on a cluster of one's own, in this process: another DATABASES, real kills and promotions."""

from __future__ import annotations

import pytest
from django.db import connections
from django.db.utils import ConnectionHandler

from management.credentials import monitor_login, read_env_file
from management.processes import wait_until
from routers import health
from routers.conf import PRIMARY_ALIAS, cluster_databases
from routers.errors import PrimaryUnavailable

pytestmark = [pytest.mark.replication, pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")]


@pytest.fixture
def use(settings, django_db_blocker):
    """Point this process's Django at another cluster, and back."""
    handlers = []

    def switch(cluster, **routers) -> ConnectionHandler:
        values = read_env_file(cluster.state.application_env)
        login = monitor_login(cluster.state)
        settings.DATABASES = cluster_databases(
            nodes={node.name: {"HOST": node.host, "PORT": str(node.port)} for node in cluster.record.nodes},
            common={
                "NAME": "postgres",
                "USER": values["HIGHLOAD_DB_USER"],
                "PASSWORD": values["HIGHLOAD_DB_PASSWORD"],
            },
        )
        settings.ROUTERS = {
            "NODES": [node.name for node in cluster.record.nodes],
            "PROBE_USER": login.role,
            "PROBE_PASSWORD": login.password,
            "PROBE_INTERVAL_SECONDS": 0.05,
            **routers,
        }
        handler = ConnectionHandler(settings.DATABASES)
        handlers.append(handler)
        return handler

    with django_db_blocker.unblock():
        yield switch
        for handler in handlers:
            handler.close_all()
    health.stop_monitor()


def ask(connection, query: str = "SELECT inet_server_port()"):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def primary_is(name: str | None) -> bool:
    return wait_until(lambda: health.topology().primary == name, timeout_seconds=60)


class TestDefault:
    def test_is_the_node_that_is_the_primary_not_the_first_in_the_list(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        cluster.kill("pg1")
        assert cluster.command("promote_replica", "--no-input").code == 0
        assert ask(use(cluster)[PRIMARY_ALIAS]) == cluster.record.node("pg2").port

    def test_follows_a_promotion_without_a_restart(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        connection = use(cluster)[PRIMARY_ALIAS]
        assert ask(connection) == cluster.record.node("pg1").port
        cluster.kill("pg1")
        cluster.command("promote_replica", "--no-input")
        assert primary_is("pg2")
        assert ask(connection) == cluster.record.node("pg2").port

    def test_refuses_the_old_primary_when_it_is_back_and_the_new_one_away(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        connection = use(cluster)[PRIMARY_ALIAS]
        ask(connection)
        cluster.kill("pg1")
        cluster.command("promote_replica", "--no-input")
        assert primary_is("pg2")
        cluster.kill("pg2")
        # Somebody removes the fence by hand.
        (cluster.node("pg1").data_dir / "standby.signal").unlink()
        cluster.start("pg1")
        assert primary_is(None)
        with pytest.raises(PrimaryUnavailable, match="accepts writes on timeline 1, the cluster is on 2"):
            ask(connection)

    def test_names_every_node_when_there_is_no_primary(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        cluster.kill("pg1")
        with pytest.raises(PrimaryUnavailable, match=r"pg1 is unreachable .*; pg2 is replica"):
            ask(use(cluster)[PRIMARY_ALIAS])

    def test_a_node_whose_role_changed_behind_the_prober_s_back_is_refused_at_connect(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        handler = use(cluster, PROBE_INTERVAL_SECONDS=3600)
        monitor = health.monitor()
        # A snapshot that is wrong: the replica taken for the primary.
        monitor._topology = type(monitor.topology)(
            nodes=monitor.topology.nodes,
            primary="pg2",
            system_identifier=monitor.topology.system_identifier,
            timeline=1,
        )
        with pytest.raises(PrimaryUnavailable, match="pg2 is not the primary of this cluster: it is a replica"):
            ask(handler[PRIMARY_ALIAS])

    def test_without_nodes_says_what_to_do(self, settings, django_db_blocker):
        settings.ROUTERS = {"NODES": []}
        handler = ConnectionHandler({PRIMARY_ALIAS: settings.DATABASES[PRIMARY_ALIAS]})
        with django_db_blocker.unblock(), pytest.raises(PrimaryUnavailable, match="setup_replication"):
            handler[PRIMARY_ALIAS].ensure_connection()


class TestReplicaAlias:
    def test_a_promoted_replica_s_open_connection_is_replaced(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        connection = use(cluster)["pg2"]
        before = ask(connection, "SELECT pg_backend_pid()")
        cluster.kill("pg1")
        cluster.command("promote_replica", "--no-input")
        assert primary_is("pg2")
        assert ask(connection, "SELECT pg_backend_pid()") != before

    def test_a_promoted_replica_s_alias_still_cannot_write(self, make_cluster, use):
        cluster = make_cluster(replicas=1)
        connection = use(cluster)["pg2"]
        ask(connection)
        cluster.kill("pg1")
        cluster.command("promote_replica", "--no-input")
        assert primary_is("pg2")
        with pytest.raises(Exception, match="read-only transaction"):
            ask(connection, "CREATE TEMP TABLE t AS SELECT 1; SELECT 1")

    def test_a_connection_is_kept_while_nothing_changes(self, cluster, django_db_blocker):
        with django_db_blocker.unblock():
            connection = connections.create_connection("pg2")
            try:
                assert ask(connection, "SELECT pg_backend_pid()") == ask(connection, "SELECT pg_backend_pid()")
            finally:
                connection.close()
