import threading

import pytest
from django.contrib.auth import hashers
from django.db import connection, connections

from users import services
from users.errors import EmailTaken
from users.models import User
from users.services import register_user, update_profile
from users.tests.factories import make_user

PROFILE = {"first_name": "Anna", "last_name": "Karenina"}


class TestRegisterUser:
    @pytest.mark.django_db
    def test_stores_the_e_mail_in_lower_case(self):
        assert register_user(email=" Anna@Example.com", password="x", profile=PROFILE).email == "anna@example.com"

    @pytest.mark.django_db
    def test_stores_no_password_but_its_argon2id_hash(self):
        user = register_user(email="a@example.com", password="secret", profile=PROFILE)
        assert user.password.startswith("argon2$argon2id$")
        assert "secret" not in user.password

    @pytest.mark.django_db
    def test_refuses_an_e_mail_that_is_taken_in_another_case(self):
        make_user(email="a@example.com")
        with pytest.raises(EmailTaken):
            register_user(email="A@EXAMPLE.COM", password="x", profile=PROFILE)

    @pytest.mark.django_db(transaction=True)
    def test_hashes_before_the_transaction_begins(self, monkeypatch):
        seen = []

        def hash_and_look(password):
            seen.append(connection.in_atomic_block)
            return hashers.make_password(password)

        monkeypatch.setattr(services, "make_password", hash_and_look)
        register_user(email="a@example.com", password="x", profile=PROFILE)
        assert seen == [False]

    @pytest.mark.django_db(transaction=True)
    def test_of_two_at_once_the_constraint_lets_one_in(self):
        outcomes = []
        together = threading.Barrier(2)

        def register():
            together.wait()
            try:
                outcomes.append(register_user(email="a@example.com", password="x", profile=PROFILE).pk)
            except EmailTaken:
                outcomes.append("taken")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=register) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("taken") == 1
        assert User.objects.count() == 1


@pytest.mark.django_db
class TestUpdateProfile:
    def test_changes_what_is_named_and_nothing_else(self):
        user = make_user(city="Москва", biography="…")
        update_profile(user_id=user.pk, changes={"city": "Омск"})
        user.refresh_from_db()
        assert (user.city, user.biography) == ("Омск", "…")

    def test_writes_nothing_when_nothing_is_named(self, django_assert_num_queries):
        user = make_user()
        with django_assert_num_queries(1):
            update_profile(user_id=user.pk, changes={})
