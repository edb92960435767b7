import pytest
from django.contrib.sessions.models import Session
from django.db import connections, transaction

import routers
from conftest import ALIASES
from routers.request_state import current_scope
from routers.router import PrimaryReplicaRouter
from users.models import User

pytestmark = [pytest.mark.replication, pytest.mark.django_db(transaction=True, databases=ALIASES)]
REPLICAS = {"pg2", "pg3"}


@pytest.fixture
def router() -> PrimaryReplicaRouter:
    return PrimaryReplicaRouter()


class TestDbForRead:
    def test_is_the_primary_outside_a_request(self, router):
        assert router.db_for_read(User) == "default"

    def test_is_a_replica_in_a_scope(self, router):
        with routers.reading_from_replica():
            assert router.db_for_read(User) in REPLICAS

    def test_stays_on_one_replica_for_the_whole_scope(self, router):
        with routers.reading_from_replica():
            assert len({router.db_for_read(User) for _ in range(20)}) == 1

    def test_uses_all_replicas_over_many_scopes(self, router):
        seen = set()
        for _ in range(4):
            with routers.reading_from_replica():
                seen.add(router.db_for_read(User))
        assert seen == REPLICAS

    def test_is_the_primary_when_pinned(self, router):
        with routers.reading_from_replica(), routers.primary():
            assert router.db_for_read(User) == "default"

    def test_is_the_primary_after_a_write(self, router):
        with routers.reading_from_replica():
            router.db_for_write(User)
            assert router.db_for_read(User) == "default"

    def test_is_the_primary_inside_a_transaction_on_it(self, router):
        with routers.reading_from_replica(), transaction.atomic():
            assert router.db_for_read(User) == "default"

    def test_is_the_primary_for_an_instance_from_it(self, router):
        person = User()
        person._state.db = "default"
        with routers.reading_from_replica():
            assert router.db_for_read(User, instance=person) == "default"

    def test_is_the_scope_s_replica_for_an_instance_from_another(self, router):
        person = User()
        with routers.reading_from_replica():
            chosen = router.db_for_read(User)
            person._state.db = (REPLICAS - {chosen}).pop()
            assert router.db_for_read(User, instance=person) == chosen

    def test_is_the_primary_for_the_apps_kept_there(self, router):
        with routers.reading_from_replica():
            assert router.db_for_read(Session) == "default"

    def test_is_always_the_primary_in_the_profile_master_only(self, router, settings):
        settings.ROUTERS = {**settings.ROUTERS, "PROFILE": "master-only"}
        with routers.reading_from_replica():
            assert router.db_for_read(User) == "default"

    def test_runs_no_query(self, router, django_assert_num_queries):
        with django_assert_num_queries(0), routers.reading_from_replica():
            router.db_for_read(User)


class TestWrites:
    def test_go_to_the_primary_whatever_the_instance_came_from(self, router):
        person = User()
        person._state.db = "pg2"
        assert router.db_for_write(User, instance=person) == "default"

    def test_objects_of_any_node_may_be_related(self, router):
        one, other = User(), User()
        one._state.db, other._state.db = "pg2", "default"
        assert router.allow_relation(one, other) is True

    def test_no_opinion_on_other_clusters(self, router):
        one, other = User(), User()
        one._state.db = "elsewhere"
        assert router.allow_relation(one, other) is None

    def test_migrations_never_run_on_a_node(self, router):
        assert (router.allow_migrate("pg2", "users"), router.allow_migrate("default", "users")) == (False, None)

    def test_a_replica_s_alias_cannot_write(self):
        with pytest.raises(Exception, match="read-only transaction"):
            User.objects.using("pg2").create(email="a@example.com", first_name="A", last_name="B")

    def test_nor_can_the_primary_s_own_alias(self):
        with pytest.raises(Exception, match="read-only transaction"):
            User.objects.using("pg1").create(email="a@example.com", first_name="A", last_name="B")


class TestOrm:
    def test_a_read_in_a_scope_is_run_on_a_replica(self):
        with routers.reading_from_replica():
            list(User.objects.all())
            alias = current_scope().node
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            assert cursor.fetchone() == (True,)
