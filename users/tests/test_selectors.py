import itertools

import pytest
from django.db import connection

from users.errors import UserNotFound
from users.models import User
from users.selectors import find_credentials, get_profile, matching_names, search_users
from users.tests.factories import make_user

pytestmark = pytest.mark.django_db


def names(**wanted) -> list[tuple[str, str]]:
    return [(user.first_name, user.last_name) for user in search_users(**wanted)]


class TestSearchUsers:
    def test_matches_the_beginnings_of_both_names(self):
        make_user(first_name="Анна", last_name="Каренина")
        make_user(first_name="Анна", last_name="Иванова")
        make_user(first_name="Иван", last_name="Карпов")
        assert names(first_name="Ан", last_name="Ка") == [("Анна", "Каренина")]

    @pytest.mark.parametrize("prefix", ["анна", "АННА", "аН"])
    def test_ignores_the_case_of_cyrillic_letters(self, prefix):
        make_user(first_name="Анна")
        assert len(search_users(first_name=prefix)) == 1

    @pytest.mark.parametrize("prefix", ["o'b", "O'B", "O'Brien"])
    def test_ignores_the_case_of_latin_letters(self, prefix):
        make_user(last_name="O'Brien")
        assert len(search_users(last_name=prefix)) == 1

    @pytest.mark.parametrize("prefix", ["%", "_", "\\", "A%", "A_", "%na"])
    def test_takes_wildcards_for_themselves(self, prefix):
        make_user(first_name="Anna")
        assert search_users(first_name=prefix) == []

    @pytest.mark.parametrize("name", ["%x", "_x", "\\x", "50%_\\"])
    def test_finds_wildcards_that_are_there(self, name):
        make_user(first_name="Anna")
        user = make_user(first_name=name)
        assert search_users(first_name=name) == [user]

    def test_does_not_find_the_middle_of_a_name(self):
        make_user(first_name="Anna")
        assert search_users(first_name="nna") == []

    def test_finds_a_name_of_letters_beyond_the_basic_plane(self):
        user = make_user(first_name="𝒜nna")
        assert search_users(first_name="𝒜") == [user]

    def test_orders_by_id_and_goes_on_after_one(self):
        first, second, third = (make_user() for _ in range(3))
        assert search_users(first_name="a", limit=2) == [first, second]
        assert search_users(first_name="a", limit=2, after_id=second.pk) == [third]

    def test_leaves_the_inactive_out(self):
        make_user(is_active=False)
        assert search_users(first_name="A") == []

    @pytest.mark.parametrize(
        ("wanted", "index"),
        [
            ({"first_name": "ан", "last_name": "и"}, "users_search_both"),
            ({"first_name": "а"}, "users_search_first_name"),
            ({"last_name": "ива"}, "users_search_last_name"),
        ],
    )
    def test_walks_an_index_in_the_order_of_the_ids(self, wanted, index):
        letters = "абвгдежзик"
        people = itertools.product(letters, letters, range(30))
        User.objects.bulk_create(
            User(email=f"{number}@example.com", first_name=f"{first}нна", last_name=f"{last}ванов")
            for number, (first, last, _) in enumerate(people)
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE users")
        plan = matching_names(User.objects.all(), **wanted).order_by("pk")[:20].explain()
        assert f"Index Scan using {index}" in plan
        assert "Sort" not in plan


class TestGetProfile:
    def test_is_the_person(self):
        user = make_user()
        assert get_profile(user_id=user.pk) == user

    def test_an_inactive_one_is_not_there(self):
        with pytest.raises(UserNotFound):
            get_profile(user_id=make_user(is_active=False).pk)

    def test_neither_is_an_id_that_no_column_holds(self):
        with pytest.raises(UserNotFound, match="There is no user 99999999999999999999"):
            get_profile(user_id=99999999999999999999)


class TestFindCredentials:
    def test_ignores_the_case_of_the_e_mail(self):
        user = make_user(email="a@example.com")
        assert find_credentials(email=" A@Example.com ") == user

    def test_does_not_know_the_inactive(self):
        make_user(email="a@example.com", is_active=False)
        assert find_credentials(email="a@example.com") is None
