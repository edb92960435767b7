"""The test kit on a real cluster: what it does to a node, and that each of its assertions can fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import psutil
import pytest
from django.db import IntegrityError, connections
from django.db.utils import ConnectionHandler
from psycopg.sql import SQL

from conftest import ALIASES
from management.credentials import operator_credentials, read_env_file
from management.processes import is_gone, wait_until
from management.state import PROJECT_DIR
from routers import health, primary, reading_from_replica
from routers.conf import cluster_databases
from routers.node import Condition
from routers.request_state import current_scope
from routers.testing import NodeError, nodes, queries_by_node
from routers.testing.postmaster import find_postmaster
from users.models import User

pytestmark = [
    pytest.mark.replication,
    pytest.mark.django_db(transaction=True, databases=ALIASES),
    pytest.mark.usefixtures("replicas_caught_up"),
]


def add_user(email: str = "a@example.com") -> None:
    User.objects.create(email=email, first_name="A", last_name="B")


def shows_a_user(alias: str) -> bool:
    return User.objects.using(alias).exists()


@contextmanager
def reading_from(node: str):
    """A scope whose reads go to this replica. The router takes turns."""
    for _ in range(64):
        with reading_from_replica():
            User.objects.count()
            if current_scope().node == node:
                yield
                return
    pytest.fail(f"no turn of {node}")


def pause_state(cluster, name: str) -> str:
    with cluster.superuser(name) as connection:
        return connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone()[0]


class TestReplicaFrozen:
    def test_shows_old_data_until_the_end(self, replica_frozen, replicas_caught_up):
        with replica_frozen("pg2") as alias:
            add_user()
            assert wait_until(lambda: shows_a_user("pg3"), timeout_seconds=60)
            assert (alias, shows_a_user("pg2")) == ("pg2", False)
        replicas_caught_up()
        assert shows_a_user("pg2")

    def test_takes_the_first_good_replica(self, replica_frozen, cluster):
        with replica_frozen() as alias:
            assert (alias, pause_state(cluster, alias)) == (health.topology().good_replicas[0], "paused")

    def test_tells_no_report_the_password(self, replica_frozen, node_killed, node_admin):
        assert node_admin["password"] not in f"{replica_frozen!r} {node_killed!r}"

    def test_ends_with_a_test_that_fails(self, replica_frozen, cluster):
        with pytest.raises(RuntimeError, match="the test failed"), replica_frozen("pg3"):
            raise RuntimeError("the test failed")
        assert pause_state(cluster, "pg3") == "not paused"

    def test_refuses_the_primary(self, replica_frozen):
        with pytest.raises(NodeError, match="pg1 is not a replica: it accepts writes"), replica_frozen("pg1"):
            pass

    def test_refuses_what_is_not_a_node(self, replica_frozen):
        with pytest.raises(NodeError, match=r"'default' is not a node.*pg1, pg2, pg3"), replica_frozen("default"):
            pass

    def test_says_so_when_there_is_no_replica_to_take(self, replica_frozen, settings):
        settings.ROUTERS = {**settings.ROUTERS, "NODES": ["pg1"]}
        with pytest.raises(NodeError, match="no good replica: pg1 is good"), replica_frozen():
            pass


class TestReplicasCaughtUp:
    def test_shows_what_is_committed(self, replicas_caught_up):
        add_user()
        replicas_caught_up()
        assert shows_a_user("pg2")
        assert shows_a_user("pg3")

    def test_names_the_one_that_is_not(self, replicas_caught_up, replica_frozen, monkeypatch):
        monkeypatch.setattr(nodes, "_REPLICA_SECONDS", 0.1)
        with replica_frozen("pg3"):
            replicas_caught_up()
            add_user()
            with pytest.raises(
                NodeError, match=r"after 0.1 s: pg1 is good; pg2 is good; pg3 is good \(\d+ bytes behind"
            ):
                replicas_caught_up()


class TestNodeKilled:
    def test_a_read_goes_on_elsewhere_and_is_counted_once(self, node_killed):
        with reading_from("pg3"), node_killed("pg3"), queries_by_node() as queries:
            assert User.objects.count() == 0
        assert [query.alias for query in queries.answered] == ["pg2"]

    def test_starts_it_as_it_was(self, node_killed, cluster):
        before = psutil.Process(cluster.node("pg3").pid())
        was = before.cmdline(), before.exe(), before.cwd(), before.environ(), before.uids(), before.gids()
        with node_killed("pg3"):
            assert is_gone(before.pid)
        after = psutil.Process(cluster.node("pg3").pid())
        is_now = after.cmdline(), after.exe(), after.cwd(), after.environ(), after.uids(), after.gids()
        assert (is_now, health.topology().nodes["pg3"].condition) == (was, Condition.GOOD)

    def test_leaves_it_to_the_router_to_notice(self, node_killed, settings):
        settings.ROUTERS = {**settings.ROUTERS, "PROBE_INTERVAL_SECONDS": 3600}
        with node_killed("pg3"):
            assert "pg3" in health.topology().good_replicas
            assert "pg3" not in health.monitor().refresh().good_replicas

    def test_names_the_node_that_does_not_come_back(self, node_killed, settings, monkeypatch):
        monkeypatch.setattr(nodes, "_ROUTER_SECONDS", 0.5)
        settings.ROUTERS = {**settings.ROUTERS, "READMIT_AFTER": 10_000}
        problem = r"(?s)after 0.5 s: pg3 is (readmitting|unreachable) \(.*; its output is in /"
        with pytest.raises(NodeError, match=problem), node_killed("pg3"):
            pass
        assert wait_until(lambda: health.monitor().refresh().nodes["pg3"].status is not None, timeout_seconds=60)

    def test_says_where_to_run_when_the_node_is_not_here(self, tmp_path):
        with pytest.raises(NodeError, match=f"{tmp_path} was found. Run the tests where the node runs"):
            find_postmaster("pg3", tmp_path, child_pid=os.getpid())

    def test_never_takes_another_node_with_the_same_path_for_it(self, cluster):
        """As a container's: its processes are not children of the postmaster that is here."""
        with pytest.raises(NodeError, match="pg3 is no process of this machine"):
            find_postmaster("pg3", cluster.node("pg3").data_dir, child_pid=os.getpid())


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
class TestPromoted:
    @pytest.fixture
    def own(self, make_cluster):
        return make_cluster(replicas=1, sync="off")

    @pytest.fixture
    def node_admin(self, own):
        login = operator_credentials(own.state).superuser
        return {"user": login.role, "password": login.password}

    @pytest.fixture
    def handler(self, own, settings):
        values = read_env_file(own.state.application_env)
        settings.DATABASES = cluster_databases(
            nodes={node.name: {"HOST": node.host, "PORT": str(node.port)} for node in own.record.nodes},
            common={
                "NAME": "postgres",
                "USER": values["HIGHLOAD_DB_USER"],
                "PASSWORD": values["HIGHLOAD_DB_PASSWORD"],
            },
        )
        settings.ROUTERS = {"NODES": ["pg1", "pg2"]}
        handler = ConnectionHandler(settings.DATABASES)
        yield handler
        handler.close_all()

    def test_default_means_the_new_primary_when_it_returns(self, handler, promoted, node_killed, replica_frozen):
        default = handler["default"]
        nodes_of_default = []
        with replica_frozen("pg2"), node_killed("pg1"):
            promoted("pg2")
            with default.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                nodes_of_default.append((default.node, cursor.fetchone()))
        assert nodes_of_default == [("pg2", (False,))]
        assert health.topology().nodes["pg1"].condition is Condition.FENCED
        with pytest.raises(NodeError, match="pg2 is not a replica"):
            promoted("pg2")


class TestServedBy:
    def test_names_the_nodes(self, served_by):
        add_user()
        shows_a_user("pg3")
        assert served_by.nodes == {"pg1", "pg3"}
        assert [(query.alias, query.node, query.is_primary) for query in served_by.answered] == [
            ("default", "pg1", True),
            ("pg3", "pg3", False),
        ]

    def test_ends_with_its_block(self):
        with queries_by_node() as queries:
            shows_a_user("pg2")
        shows_a_user("pg3")
        assert queries.nodes == {"pg2"}

    def test_a_request_that_reads_goes_to_no_primary(self, client, served_by):
        assert client.get("/v0/api/users/1").status_code == 404
        served_by.assert_served_by("pg2", "pg3")
        served_by.assert_no_primary()
        with pytest.raises(AssertionError, match=r"served by the primary, but .*\n  pg[23] \(as 'pg[23]'\): SELECT"):
            served_by.assert_primary_only()

    def test_a_pinned_read_goes_to_the_primary(self, served_by):
        with primary():
            User.objects.count()
        served_by.assert_primary_only()
        wrong = r"\n  pg1, the primary \(as 'default'\): SELECT COUNT"
        with pytest.raises(AssertionError, match="served by a replica, but there was" + wrong):
            served_by.assert_no_primary()
        with pytest.raises(AssertionError, match="served by pg2 or pg3, but there was" + wrong):
            served_by.assert_served_by("pg2", "pg3")

    def test_the_primary_counts_as_such_under_its_own_alias(self, served_by):
        shows_a_user("pg1")
        served_by.assert_primary_only()
        with pytest.raises(AssertionError, match=r"pg1, the primary \(as 'pg1'\)"):
            served_by.assert_no_primary()

    def test_names_only_the_queries_at_fault(self, served_by):
        shows_a_user("pg2")
        shows_a_user("pg3")
        with pytest.raises(AssertionError) as raised:
            served_by.assert_served_by("pg2")
        assert ("as 'pg3'" in str(raised.value), "as 'pg2'" in str(raised.value)) == (True, False)

    def test_no_query_is_not_served_by_anybody(self, served_by):
        served_by.assert_no_primary()
        for claim in (lambda: served_by.assert_served_by("pg1"), served_by.assert_primary_only):
            with pytest.raises(AssertionError, match="no node has answered"):
                claim()

    def test_an_error_is_an_answer(self, served_by):
        add_user()
        with pytest.raises(IntegrityError):
            add_user()
        assert len(served_by.answered) == 2

    def test_a_dead_node_gives_none(self, node_killed, served_by):
        shows_a_user("pg3")
        with node_killed("pg3"), pytest.raises(Exception, match=r"pg3|connection"):
            shows_a_user("pg3")
        assert len(served_by.answered) == 1

    def test_the_router_s_own_questions_are_left_out(self, client, served_by):
        """A write's token is the primary's position, and the replicas are asked for theirs."""
        person = {"email": "a@example.com", "password": "correct horse 1", "firstName": "A", "lastName": "B"}
        client.post("/v0/api/auth/register", person, content_type="application/json")
        assert [query.sql for query in served_by.answered if "pg_" in query.sql] == []
        with connections["default"].cursor() as cursor:
            cursor.execute(SQL("SELECT pg_backend_pid()"))
        assert "pg_backend_pid" in served_by.answered[-1].sql

    def test_other_threads_are_not_seen(self, served_by):
        def read() -> None:
            shows_a_user("pg2")
            connections.close_all()

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        assert served_by.answered == []


class TestPlugin:
    def test_without_node_admin_says_how_to_override_it(self, tmp_path):
        """In a process, and in a project, of its own."""
        (tmp_path / "test_it.py").write_text("def test_it(promoted): pass")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "routers.testing", "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "Override the fixture in your conftest.py" in done.stdout) == (1, True), done.stdout

    def test_production_imports_no_pytest(self):
        imports = "import sys, routers.middleware, routers.router, routers.backend.base, routers.views"
        subprocess.run([sys.executable, "-c", f"{imports}; sys.exit('pytest' in sys.modules)"], check=True)
