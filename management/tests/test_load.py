import io
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from conftest import ALIASES
from management.exit_codes import ExitCode
from management.seeding import load
from routers import health
from users.models import User
from users.tests.factories import make_user

LIMIT_BYTES = 4 * 1024 * 1024

pytestmark = pytest.mark.django_db(transaction=True, databases=ALIASES)


def seed(**options) -> str:
    out = io.StringIO()
    call_command("seed_users", stdout=out, **{"count": 200, "password": "secret", "no_input": True, **options})
    return out.getvalue()


def refusal(**options) -> CommandError:
    with pytest.raises(CommandError) as caught:
        seed(**options)
    return caught.value


def index_names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'users'")
        return {name for (name,) in cursor.fetchall()}


class TestSeedUsers:
    def test_loads_as_many_as_asked_for(self):
        assert seed().startswith("200 users (ids 1 to 200)")
        assert User.objects.count() == 200

    def test_lets_every_user_log_in(self, client):
        seed()
        body = {"email": User.objects.order_by("?")[0].email, "password": "secret"}
        assert client.post("/v0/api/auth/login", body, content_type="application/json").status_code == 200

    def test_leaves_the_sequence_behind_the_ids(self):
        seed()
        assert make_user().pk == 201

    def test_builds_every_index_again(self):
        before = index_names()
        seed()
        assert index_names() == before

    def test_the_same_seed_gives_the_same_people(self):
        seed()
        first = list(User.objects.order_by("pk").values_list("email", "city"))
        seed(replace=True)
        assert [(email.rsplit(".", 2)[0], city) for email, city in first] == [
            (email.rsplit(".", 2)[0], city) for email, city in User.objects.order_by("pk").values_list("email", "city")
        ]

    def test_refuses_a_table_with_users_and_keeps_them(self):
        user = make_user()
        error = refusal()
        assert (error.returncode, str(error)) == (
            ExitCode.REFUSED,
            "The table users is not empty. Add to it with --append, or empty it with --replace.",
        )
        assert list(User.objects.all()) == [user]

    def test_appends(self):
        user = make_user()
        seed(append=True)
        assert (User.objects.count(), User.objects.order_by("pk")[0]) == (201, user)

    def test_replaces(self):
        make_user(email="gone@example.com")
        seed(replace=True)
        assert (User.objects.count(), User.objects.filter(email="gone@example.com").exists()) == (200, False)

    def test_does_nothing_if_there_are_users(self):
        make_user()
        seed(if_empty=True)
        assert User.objects.count() == 1

    def test_an_administrator_is_no_reason_not_to_seed(self):
        admin = make_user(is_staff=True)
        seed(if_empty=True)
        assert (User.objects.count(), User.objects.order_by("pk")[0]) == (201, admin)

    def test_tops_up_to_the_number_of_people(self):
        make_user(email="registered@example.com")
        make_user(email="admin@example.com", is_staff=True)
        seed(top_up=True)
        assert (User.objects.filter(is_staff=False).count(), User.objects.count()) == (200, 201)

    def test_removes_nobody_when_there_are_more(self):
        seed()
        seed(top_up=True, count=100)
        assert User.objects.count() == 200

    def test_an_interrupted_run_leaves_everything_as_it_was(self, monkeypatch, tmp_path):
        user, before = make_user(), index_names()
        add_index = connection.SchemaEditorClass.add_index

        def fail(self, model, index):
            if index.name == "users_search_first_name":
                raise KeyboardInterrupt
            add_index(self, model, index)

        monkeypatch.setattr(connection.SchemaEditorClass, "add_index", fail)
        error = refusal(replace=True, export=tmp_path / "users.csv")
        assert error.returncode == 130
        assert (list(User.objects.all()), index_names(), list(tmp_path.iterdir())) == ([user], before, [])

    def test_exports_ids_and_e_mails(self, tmp_path):
        seed(export=tmp_path / "users.csv")
        lines = (tmp_path / "users.csv").read_text().splitlines()
        assert lines[0] == "id,email"
        assert lines[1:] == [f"{pk},{email}" for pk, email in User.objects.order_by("pk").values_list("pk", "email")]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"count": 0}, "--count 0 is not between 1 and 100000000."),
            ({"count": -5}, "--count -5 is not between"),
            ({"max_lag_bytes": 0}, "--max-lag-bytes 0 is less than 2097152"),
        ],
    )
    def test_refuses_impossible_numbers(self, options, message):
        assert message in str(refusal(**options))

    def test_refuses_an_export_it_cannot_write_before_it_loads(self, tmp_path):
        assert "must be a regular file" in str(refusal(export=tmp_path / "missing" / "users.csv"))
        assert "must be a regular file" in str(refusal(export=Path("/dev/null")))
        assert not User.objects.exists()


@pytest.mark.replication
class TestMaxLag:
    def test_waits_for_a_paused_replica_before_it_is_past_the_limit(self, cluster, monkeypatch):
        with cluster.superuser("pg3") as replica:
            paused_lags = []

            def note_and_resume(seconds: float) -> None:
                paused_lags.append(health.topology().nodes["pg3"].lag_bytes)
                replica.execute("SELECT pg_wal_replay_resume()")
                time.sleep(seconds)

            clock = SimpleNamespace(sleep=note_and_resume, monotonic=time.monotonic)
            monkeypatch.setattr(load, "time", clock)
            replica.execute("SELECT pg_wal_replay_pause()")
            seed(count=20_000, max_lag_bytes=LIMIT_BYTES)
        assert 0 < paused_lags[0] <= LIMIT_BYTES

    def test_keeps_the_indexes_because_building_one_cannot_wait(self):
        before = index_names()
        seed(max_lag_bytes=LIMIT_BYTES)
        assert (User.objects.count(), index_names()) == (200, before)
