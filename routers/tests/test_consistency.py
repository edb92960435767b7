"""Tokens on a real primary with real replicas, through Django's test client and the public functions."""

import threading

import psycopg
import pytest
from django.db import connections, transaction
from django.test import Client

from conftest import ALIASES
from management.connection import conninfo
from management.credentials import operator_credentials
from management.processes import wait_until
from routers import consistency, health, reading_from_replica
from routers.errors import NotCommitted, WriteOnReadNode
from routers.headers import STATUS_HEADER, TOKEN_HEADER
from routers.lsn import Lsn
from routers.request_state import current_scope, scope
from routers.token import Token, sign, verify
from tests.ports import free_ports
from users.models import User

pytestmark = [pytest.mark.replication, pytest.mark.django_db(transaction=True, databases=ALIASES)]
PERSON = {"email": "a@example.com", "password": "correct horse 1", "firstName": "Anna", "lastName": "K"}


def register(client, **changed):
    return client.post("/v0/api/auth/register", {**PERSON, **changed}, content_type="application/json")


def register_elsewhere() -> str:
    """Another client's registration; its token."""
    return register(Client()).headers[TOKEN_HEADER]


class TestToken:
    def test_is_given_for_a_write_in_header_and_cookie(self, client):
        answer = register(client)
        token = verify(answer.headers[TOKEN_HEADER])
        assert (answer.status_code, token.node, answer.cookies["consistency_token"].value) == (
            201,
            "",
            answer.headers[TOKEN_HEADER],
        )
        assert answer.cookies["consistency_token"]["httponly"]

    def test_of_a_refused_write_demands_no_new_position(self, client):
        register(client)
        refused = register(client)
        assert (refused.status_code, verify(refused.headers[TOKEN_HEADER]).node) == (409, "default")

    def test_names_the_replica_a_read_came_from_and_is_then_left_alone(self, client):
        person = register(client).json()["userId"]
        first = client.get(f"/v0/api/users/{person}")
        assert verify(first.headers[TOKEN_HEADER]).node in {"pg2", "pg3"}
        assert TOKEN_HEADER not in client.get(f"/v0/api/users/{person}").headers

    def test_is_not_given_when_switched_off(self, client, settings):
        settings.ROUTERS = {**settings.ROUTERS, "CONSISTENCY_TOKENS": False}
        assert TOKEN_HEADER not in register(client).headers

    def test_that_is_forged_demands_nothing(self, client):
        person = register(client).json()["userId"]
        client.cookies.clear()
        assert client.get(f"/v0/api/users/{person}", headers={TOKEN_HEADER: "forged"}).status_code in {200, 404}

    def test_of_a_lost_timeline_is_reported(self, client):
        person = register(client).json()["userId"]
        topology = health.topology()
        client.cookies.clear()
        lost = sign(Token(topology.system_identifier, 0, Lsn(1)))
        answer = client.get(f"/v0/api/users/{person}", headers={TOKEN_HEADER: lost})
        assert (answer.status_code, answer.headers[STATUS_HEADER]) == (200, "possibly-lost")

    def test_of_a_lost_timeline_is_reported_to_a_write_too(self, client):
        """Its own new token replaces the old one: later nobody could tell."""
        lost = sign(Token(health.topology().system_identifier, 0, Lsn(1)))
        answer = client.post(
            "/v0/api/auth/register", PERSON, content_type="application/json", headers={TOKEN_HEADER: lost}
        )
        assert (answer.status_code, answer.headers[STATUS_HEADER]) == (201, "possibly-lost")


class TestReadYourWrites:
    def test_login_right_after_registration_while_a_replica_is_behind(self, client, cluster):
        with cluster.replay_paused("pg2"):
            assert register(client).status_code == 201
            answers = {
                client.post(
                    "/v0/api/auth/login",
                    {"email": PERSON["email"], "password": PERSON["password"]},
                    content_type="application/json",
                ).status_code
                for _ in range(6)
            }
        assert answers == {200}

    def test_without_the_token_the_same_login_fails(self, client, cluster):
        """The control: the replica really is behind."""
        with cluster.replay_paused("pg2"), cluster.replay_paused("pg3"):
            person = register(client).json()["userId"]
            client.cookies.clear()
            assert client.get(f"/v0/api/users/{person}").status_code == 404

    def test_with_both_replicas_behind_the_primary_answers(self, client, cluster):
        with cluster.replay_paused("pg2"), cluster.replay_paused("pg3"):
            person = register(client).json()["userId"]
            assert client.get(f"/v0/api/users/{person}").status_code == 200


class TestCookies:
    def test_a_late_answer_to_an_earlier_read_forgets_no_write(self, client, cluster):
        """A browser asks in parallel, and keeps the cookie of the answer that comes last."""
        first = register(client).json()["userId"]
        assert client.get(f"/v0/api/users/{first}").status_code == 200
        seen = client.cookies["consistency_token_seen"].value
        with cluster.replay_paused(verify(seen).node):
            second = register(client, email="b@example.com").json()["userId"]
            assert not client.cookies["consistency_token_seen"].value
            for _ in range(4):
                client.cookies["consistency_token_seen"] = seen
                assert client.get(f"/v0/api/users/{second}").status_code == 200
            # The control: what was seen alone leads to the replica that is behind.
            client.cookies["consistency_token_seen"] = seen
            del client.cookies["consistency_token"]
            assert client.get(f"/v0/api/users/{second}").status_code == 404


class TestAdmin:
    def test_the_page_after_a_change_shows_it(self, client, cluster, replicas_caught_up):
        boss = User.objects.create_superuser("boss@example.com", "x", first_name="A", last_name="B")
        client.force_login(boss)
        page = f"/admin/users/user/{boss.pk}/change/"
        form = {"email": boss.email, "first_name": "Zoë", "last_name": "B", "is_active": "on", "is_staff": "on"}
        replicas_caught_up()
        with cluster.replay_paused("pg2"), cluster.replay_paused("pg3"):
            shown = client.post(page, {**form, "is_superuser": "on", "_continue": "1"}, follow=True)
            assert (shown.redirect_chain, "Zoë" in shown.content.decode()) == ([(page, 302)], True)
            # The control: the replicas really are behind.
            del client.cookies["consistency_token"], client.cookies["consistency_token_seen"]
            assert "Zoë" not in client.get(page).content.decode()


class TestJobs:
    def test_a_job_reads_no_less_than_what_queued_it(self, cluster):
        with cluster.replay_paused("pg2"):
            with scope():
                User.objects.create(email="b@example.com", first_name="B", last_name="C")
                token = consistency.current_token()
            for _ in range(4):
                with consistency.reading_no_older_than(token):
                    assert User.objects.filter(email="b@example.com").exists()
                    assert current_scope().node in {"pg3", "default"}

    def test_when_the_transaction_has_committed_there_is_one(self):
        tokens = []
        with scope(), transaction.atomic():
            User.objects.create(email="b@example.com", first_name="B", last_name="C")
            transaction.on_commit(lambda: tokens.append(verify(consistency.current_token())))
        assert tokens[0].lsn > Lsn(0)

    def test_inside_a_transaction_there_is_no_token_yet(self):
        with scope(), transaction.atomic():
            User.objects.create(email="b@example.com", first_name="B", last_name="C")
            with pytest.raises(NotCommitted, match="on_commit"):
                consistency.current_token()

    def test_what_was_rolled_back_was_not_written(self):
        with scope() as opened:
            with transaction.atomic():
                User.objects.create(email="b@example.com", first_name="B", last_name="C")
                transaction.set_rollback(True)
            assert opened.written_on is None

    def test_an_empty_update_is_no_write(self):
        with scope() as opened:
            User.objects.filter(pk=0).update(city="x")
            assert opened.written_on is None


class TestFailingReads:
    def terminate(self, cluster, node):
        with cluster.superuser(node) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [connections[node].connection.info.backend_pid])

    def lock_the_table(self, cluster):
        login = operator_credentials(cluster.state).superuser
        name = connections["default"].settings_dict["NAME"]
        with psycopg.connect(**conninfo(cluster.record.node("pg1"), login, dbname=name)) as connection:
            connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

    def test_a_terminated_backend_costs_a_retry_not_an_error(self, cluster):
        with reading_from_replica():
            User.objects.count()
            node = current_scope().node
            self.terminate(cluster, node)
            assert User.objects.count() == 0
            assert current_scope().node != node
        wait_until(lambda: len(health.topology().good_replicas) == 2, timeout_seconds=60)

    def test_the_first_connection_of_a_worker_to_a_dead_node_costs_no_error_either(self, monkeypatch):
        with reading_from_replica():
            User.objects.count()
            node = current_scope().node
            connections[node].close()
            del connections[node]
            monkeypatch.setitem(connections[node].settings_dict, "PORT", str(free_ports(1)))
            assert User.objects.count() == 0
            assert current_scope().node != node

    def test_a_read_that_waits_on_a_frozen_node_is_answered_by_another(self, cluster):
        with reading_from_replica():
            User.objects.count()
            node = current_scope().node
            with cluster.frozen(node):
                assert User.objects.count() == 0
                assert current_scope().node != node
        wait_until(lambda: len(health.topology().good_replicas) == 2, timeout_seconds=60)

    def test_a_server_side_cursor_is_opened_on_another_node(self, cluster):
        with scope(token=verify(register_elsewhere())):
            User.objects.count()
            node = current_scope().node
            self.terminate(cluster, node)
            assert len(list(User.objects.iterator())) == 1
            assert current_scope().node != node
        wait_until(lambda: len(health.topology().good_replicas) == 2, timeout_seconds=60)

    def test_a_conflict_with_recovery_sends_a_long_read_elsewhere(self, cluster):
        register_elsewhere()
        with reading_from_replica(), cluster.impatient_recovery("pg2", "pg3"):
            User.objects.count()
            node = current_scope().node
            locking = threading.Timer(0.5, self.lock_the_table, args=[cluster])
            locking.start()
            sleepers = User.objects.raw("SELECT users.*, pg_sleep(1.5) FROM users")
            assert [person.last_name for person in sleepers] == ["K"]
            locking.join()
            assert current_scope().node != node

    def test_a_write_sent_to_a_replica_names_the_fix(self):
        with pytest.raises(WriteOnReadNode, match=r"\.using\('default'\)"):
            User.objects.using("pg2").create(email="a@example.com", first_name="A", last_name="B")
