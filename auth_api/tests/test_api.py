import json

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from auth_api.hashers import OwaspArgon2idHasher
from users.models import User
from users.tests.factories import make_user

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"
PERSON = {"email": "anna@example.com", "password": "correct horse 1", "firstName": "Анна", "lastName": "К"}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def post(client: Client, path: str, body, **options):
    data = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"/v0/api/auth/{path}", data, content_type="application/json", **options)


class TestRegister:
    def test_answers_201_with_the_id(self, client):
        answer = post(client, "register", PERSON)
        assert (answer.status_code, answer.json()) == (201, {"userId": User.objects.get().pk})

    def test_takes_the_whole_profile(self, client):
        rest = {"birthDate": "1990-05-01", "gender": "female", "city": "Омск", "biography": "Пою."}
        post(client, "register", {**PERSON, **rest})
        user = User.objects.get()
        assert (str(user.birth_date), user.gender, user.city, user.biography) == tuple(rest.values())

    def test_makes_nobody_an_administrator(self, client):
        answer = post(client, "register", {**PERSON, "is_staff": True, "isSuperuser": True})
        assert sorted(answer.json()["errors"]) == ["isSuperuser", "is_staff"]
        assert not User.objects.exists()

    def test_a_taken_e_mail_is_a_problem_409(self, client):
        post(client, "register", PERSON)
        answer = post(client, "register", {**PERSON, "email": "ANNA@example.com"})
        assert (answer.status_code, answer["Content-Type"], User.objects.count()) == (409, PROBLEM, 1)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"email": "x"}, "email"),
            ({"email": f"{'a' * 250}@example.com"}, "email"),
            ({"email": None}, "email"),
            ({"email": ["a@example.com"]}, "email"),
            ({"password": "short"}, "password"),
            ({"password": "password"}, "password"),
            ({"password": "1234567890123"}, "password"),
            ({"password": "x" * 129}, "password"),
            ({"password": "a\0bcdefghij"}, "password"),
            ({"firstName": "  "}, "firstName"),
            ({"birthDate": "31.12.1990"}, "birthDate"),
            ({"gender": 1}, "gender"),
        ],
    )
    def test_names_what_is_wrong_and_creates_nobody(self, client, change, field):
        answer = post(client, "register", {**PERSON, **change})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
        assert not User.objects.exists()

    @pytest.mark.parametrize("missing", ["email", "password", "firstName", "lastName"])
    def test_misses_what_is_required(self, client, missing):
        answer = post(client, "register", {name: value for name, value in PERSON.items() if name != missing})
        assert answer.json()["errors"] == {missing: ["This field is required."]}


class TestLogin:
    def test_answers_a_token_that_opens_the_own_profile(self, client):
        post(client, "register", PERSON)
        token = post(client, "login", {"email": "Anna@example.com", "password": PERSON["password"]}).json()
        answer = client.get("/v0/api/users/me", headers={"Authorization": f"Bearer {token['accessToken']}"})
        assert answer.json()["email"] == "anna@example.com"

    def test_says_when_the_token_expires(self, client):
        post(client, "register", PERSON)
        token = post(client, "login", {"email": PERSON["email"], "password": PERSON["password"]}).json()
        assert token["expiresAt"].endswith("Z")

    @pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"email": "nobody@example.com"}])
    def test_wrong_credentials_are_a_problem_401_that_tells_no_more(self, client, wrong):
        post(client, "register", PERSON)
        answer = post(client, "login", {"email": PERSON["email"], "password": PERSON["password"], **wrong})
        assert (answer.status_code, answer["Content-Type"]) == (401, PROBLEM)
        assert answer.json()["detail"] == "No user has this e-mail and password."

    def test_an_inactive_user_is_not_let_in(self, client):
        make_user(email="a@example.com", password=make_password("secret"), is_active=False)
        assert post(client, "login", {"email": "a@example.com", "password": "secret"}).status_code == 401

    def test_reads_once_and_writes_nothing(self, client):
        # A hash of outdated parameters: Django would rewrite it on login.
        old = OwaspArgon2idHasher()
        old.time_cost = settings.PASSWORD_ARGON2_TIME_COST + 1
        make_user(email="a@example.com", password=old.encode("secret", old.salt()))
        with CaptureQueriesContext(connection) as queries:
            assert post(client, "login", {"email": "a@example.com", "password": "secret"}).status_code == 200
        assert [query["sql"].split()[0] for query in queries] == ["SELECT"]


class TestThrottles:
    @pytest.fixture(autouse=True)
    def limits(self, settings, monkeypatch):
        from rest_framework.throttling import SimpleRateThrottle

        rates = {
            "login_address": "4/min",
            "login_account": "2/min",
            "register_address": "2/min",
            "register_account": "9/min",
        }
        monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", rates)
        settings.THROTTLING = True
        cache.clear()
        yield
        cache.clear()

    def login(self, client: Client, email: str, **options) -> int:
        return post(client, "login", {"email": email, "password": "x"}, **options).status_code

    def test_limit_the_logins_to_one_account_from_many_addresses(self, client):
        codes = [
            self.login(client, email, REMOTE_ADDR=f"10.0.0.{number}")
            for number, email in enumerate(["a@example.com", " A@Example.com", "a@example.com"])
        ]
        assert codes == [401, 401, 429]

    def test_limit_the_logins_from_one_address_to_many_accounts(self, client):
        assert [self.login(client, f"{n}@example.com") for n in range(5)] == [401, 401, 401, 401, 429]

    def test_limit_registrations_and_say_when_to_come_back(self, client):
        answers = [post(client, "register", {**PERSON, "email": f"{n}@example.com"}) for n in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert answers[-1]["Content-Type"] == PROBLEM
        assert int(answers[-1]["Retry-After"]) > 0

    def test_do_not_believe_a_forwarded_address(self, client):
        codes = [self.login(client, f"{n}@example.com", HTTP_X_FORWARDED_FOR=f"10.0.0.{n}") for n in range(5)]
        assert codes[-1] == 429

    def test_are_off_by_one_setting(self, client, settings):
        settings.THROTTLING = False
        assert [self.login(client, "a@example.com") for _ in range(6)] == [401] * 6
