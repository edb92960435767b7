import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from rest_framework_simplejwt.tokens import AccessToken

from users.models import User
from users.tests.factories import make_user

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def bearer(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


def patch(client: Client, user: User, body, content_type="application/json"):
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.patch("/v0/api/users/me", data, content_type=content_type, headers=bearer(user))


class TestProfile:
    def test_shows_no_e_mail_and_no_password(self, client):
        user = make_user(birth_date="1990-05-01", gender="female", city="Омск", biography="Пою.")
        assert client.get(f"/v0/api/users/{user.pk}").json() == {
            "userId": user.pk,
            "firstName": "Anna",
            "lastName": "Karenina",
            "birthDate": "1990-05-01",
            "gender": "female",
            "city": "Омск",
            "biography": "Пою.",
        }

    @pytest.mark.parametrize("user_id", ["0", "999999", "9223372036854775808", "9" * 60])
    def test_an_unknown_id_is_a_problem_404(self, client, user_id):
        answer = client.get(f"/v0/api/users/{user_id}")
        assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)

    @pytest.mark.parametrize("path", ["x", "-1", "1.5", "1/", "%00", ""])
    def test_what_is_no_id_is_a_problem_404(self, client, path):
        answer = client.get(f"/v0/api/users/{path}")
        assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)

    def test_a_wrong_method_is_a_problem_405(self, client):
        answer = client.delete("/v0/api/users/1")
        assert (answer.status_code, answer["Content-Type"]) == (405, PROBLEM)


class TestSearch:
    def test_pages_through_everybody_once(self, client):
        people = [make_user().pk for _ in range(5)]
        seen, cursor = [], "0"
        while cursor is not None:
            page = client.get("/v0/api/users/search", {"firstName": "a", "limit": 2, "cursor": cursor}).json()
            seen += [user["userId"] for user in page["users"]]
            cursor = page["nextCursor"]
        assert seen == people

    def test_a_last_page_that_is_full_names_no_next(self, client):
        make_user()
        assert client.get("/v0/api/users/search", {"firstName": "a", "limit": 1}).json()["nextCursor"] is None

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({}, "non_field_errors"),
            ({"firstName": " "}, "non_field_errors"),
            ({"firstName": "a" * 101}, "firstName"),
            ({"firstName": "a\0"}, "firstName"),
            ({"firstName": "a", "limit": "0"}, "limit"),
            ({"firstName": "a", "limit": "101"}, "limit"),
            ({"firstName": "a", "limit": "x"}, "limit"),
            ({"firstName": "a", "cursor": "-1"}, "cursor"),
            ({"firstName": "a", "cursor": "x"}, "cursor"),
            ({"firstName": "a", "cursor": str(2**63)}, "cursor"),
            ({"firstname": "a"}, "firstname"),
        ],
    )
    def test_names_what_is_wrong(self, client, query, field):
        answer = client.get("/v0/api/users/search", query)
        assert (answer.status_code, answer["Content-Type"], list(answer.json()["errors"])) == (400, PROBLEM, [field])

    def test_composes_what_is_written_in_pieces(self, client):
        user = make_user(first_name="Йорик")
        page = client.get("/v0/api/users/search", {"firstName": "И\u0306о"}).json()
        assert [found["userId"] for found in page["users"]] == [user.pk]


class TestMe:
    def test_shows_the_e_mail(self, client):
        user = make_user(email="a@example.com")
        assert client.get("/v0/api/users/me", headers=bearer(user)).json()["email"] == "a@example.com"

    def test_changes_what_is_given(self, client):
        user = make_user()
        answer = patch(client, user, {"city": " Омск ", "birthDate": None, "gender": "other"})
        assert (answer.status_code, answer.json()["city"], answer.json()["gender"]) == (200, "Омск", "other")

    def test_nothing_given_changes_nothing(self, client):
        assert patch(client, make_user(), {}).status_code == 200

    @pytest.mark.parametrize(
        ("body", "errors"),
        [
            ({"firstName": ""}, {"firstName": ["This field may not be blank."]}),
            ({"firstName": None}, {"firstName": ["This field may not be null."]}),
            ({"lastName": "x" * 101}, {"lastName": ["Ensure this field has no more than 100 characters."]}),
            ({"biography": "x" * 2001}, {"biography": ["Ensure this field has no more than 2000 characters."]}),
            ({"birthDate": "2999-01-01"}, {"birthDate": ["The birth date is in the future."]}),
            ({"birthDate": "1899-12-31"}, {"birthDate": ["The birth date is before 1900-01-01."]}),
            ({"gender": "x"}, {"gender": ['"x" is not a valid choice.']}),
            ({"city": "a\0b"}, {"city": ["The character U+0000 is not allowed."]}),
            ({"firstName": "a\u202eb"}, {"firstName": ["The character U+202E is not allowed."]}),
            ({"firstName": "\u200b"}, {"firstName": ["The character U+200B is not allowed."]}),
            ({"city": {"a": 1}}, {"city": ["Not a valid string."]}),
            ({"email": "x@example.com"}, {"email": ["Unknown field."]}),
            ({"isStaff": True}, {"isStaff": ["Unknown field."]}),
        ],
    )
    def test_names_what_is_wrong_and_changes_nothing(self, client, body, errors):
        user = make_user()
        answer = patch(client, user, {**body, "city": body.get("city", "Омск")})
        assert (answer.status_code, answer.json()["errors"]) == (400, errors)
        user.refresh_from_db()
        assert (user.city, user.is_staff) == ("", False)

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "{",
            "[]",
            '"x"',
            "nul",
            '{"city": "\\ud800"}',
            '{"gender": "\\ud800"}',
            '{"\\ud800": 1}',
            b"\xff",
            "[" * 20_000,
        ],
    )
    def test_a_malformed_body_is_a_problem_400(self, client, body):
        answer = patch(client, make_user(), body)
        expected = 200 if body == "" else 400
        assert (answer.status_code, answer["Content-Type"]) == (expected, PROBLEM if body else "application/json")

    def test_another_content_type_is_a_problem_415(self, client):
        answer = patch(client, make_user(), "city=x", "application/x-www-form-urlencoded")
        assert (answer.status_code, answer["Content-Type"]) == (415, PROBLEM)

    def test_a_megabyte_is_a_problem_413(self, client):
        answer = patch(client, make_user(), json.dumps({"city": "x" * 1_000_000}))
        assert (answer.status_code, answer["Content-Type"]) == (413, PROBLEM)

    def test_a_body_at_the_limit_is_read(self, client):
        body = json.dumps({"city": "Омск"}).ljust(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        assert patch(client, make_user(), body).status_code == 200


class TestToken:
    def tokens(self, user: User) -> dict[str, str]:
        now = datetime.now(UTC)
        claims = {"token_type": "access", "sub": str(user.pk), "jti": "x"}
        good = str(AccessToken.for_user(user))
        return {
            "none": "",
            "not a token": "Bearer x",
            "another scheme": f"Basic {good}",
            "expired": "Bearer "
            + jwt.encode({**claims, "exp": now - timedelta(minutes=4)}, settings.SECRET_KEY, algorithm="HS256"),
            "another key": "Bearer "
            + jwt.encode({**claims, "exp": now + timedelta(hours=1)}, "another-key" * 8, algorithm="HS256"),
            "unsigned": "Bearer " + jwt.encode({**claims, "exp": now + timedelta(hours=1)}, "", algorithm="none"),
            "changed": f"Bearer {good[:-8]}AAAAAAAA",
        }

    @pytest.mark.parametrize(
        "kind", ["none", "not a token", "another scheme", "expired", "another key", "unsigned", "changed"]
    )
    def test_that_is_not_ours_lets_nobody_in(self, client, kind):
        answer = client.get("/v0/api/users/me", headers={"Authorization": self.tokens(make_user())[kind]})
        assert (answer.status_code, answer["Content-Type"]) == (401, PROBLEM)

    def test_of_a_user_who_was_deactivated_lets_nobody_in(self, client):
        user = make_user(is_active=False)
        assert client.get("/v0/api/users/me", headers=bearer(user)).status_code == 401
        assert patch(client, user, {"city": "x"}).status_code == 401


class TestEdges:
    @pytest.mark.parametrize("charset", ["zlib", "rot13", "utf-16", "undefined", "x"])
    def test_another_charset_is_a_problem_415(self, charset):
        from highload.wsgi import application

        environ = RequestFactory().get("/v0/api/users/search", {"firstName": "a"}).environ
        answers = []
        environ["CONTENT_TYPE"] = f"text/plain; charset={charset}"
        application(environ, lambda status, headers: answers.append((status, dict(headers)["Content-Type"])))
        assert answers == [("415 Unsupported Media Type", PROBLEM)]

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options", "trace"])
    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v0/api/docs"])
    def test_a_wrong_method_never_is_a_page(self, client, path, method):
        answer = getattr(client, method)(path)
        assert answer.status_code < 500
        assert answer.status_code == 200 or answer["Content-Type"] == PROBLEM

    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/problem+json", "x"])
    def test_whatever_is_accepted_an_error_is_a_problem(self, client, accept):
        answer = client.get("/v0/api/users/0", headers={"Accept": accept})
        assert answer["Content-Type"] == PROBLEM

    def test_a_paragraph_may_have_lines(self, client):
        assert patch(client, make_user(), {"biography": "a\nb"}).json()["biography"] == "a\nb"
