import json

import psycopg
import pytest
from django.db.utils import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory

from routers.errors import PrimaryUnavailable
from routers.middleware import RoutingMiddleware
from routers.request_state import current_scope


class ReadsOnly:
    """A view class that declares what it does."""

    reads_only = True


def is_pinned(method: str, view_class: type | None = None) -> bool:
    """What the view sees."""
    seen = []

    def view(request):
        seen.append(current_scope().pinned)
        return HttpResponse()

    view.cls = view_class  # type: ignore[attr-defined]  # as DRF's as_view() does

    def get_response(request):
        middleware.process_view(request, view, (), {})
        return view(request)

    middleware = RoutingMiddleware(get_response)
    middleware(RequestFactory().generic(method, "/"))
    return seen[0]


class TestScopeOfARequest:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_safe_methods_may_read_a_replica(self, method):
        assert not is_pinned(method)

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_unsafe_methods_read_the_primary(self, method):
        assert is_pinned(method)

    def test_a_view_that_only_reads_says_so(self):
        assert not is_pinned("POST", ReadsOnly)

    def test_ends_with_the_request(self):
        is_pinned("GET")
        assert current_scope() is None


def answer(method: str, error: Exception):
    middleware = RoutingMiddleware(lambda request: HttpResponse())
    return middleware.process_exception(RequestFactory().generic(method, "/"), error)


def node_failure() -> OperationalError:
    error = OperationalError("server closed the connection unexpectedly")
    error.__cause__ = psycopg.OperationalError()
    return error


class TestErrors:
    def test_without_a_primary_a_write_was_not_made(self):
        response = answer("POST", PrimaryUnavailable("no primary"))
        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert "not made" in json.loads(response.content)["detail"]

    def test_without_any_node_a_read_is_not_called_a_write(self):
        assert json.loads(answer("GET", PrimaryUnavailable("no primary")).content)["title"] == "No node"

    def test_a_write_on_a_node_that_failed_is_unknown(self):
        assert "unknown" in json.loads(answer("POST", node_failure()).content)["detail"]

    def test_a_read_on_a_node_that_failed_is_only_a_failure(self):
        assert "unknown" not in json.loads(answer("GET", node_failure()).content)["detail"]

    def test_nothing_of_the_cause_is_told(self):
        assert b"server closed" not in answer("GET", node_failure()).content

    def test_other_errors_are_left_alone(self):
        assert answer("GET", ValueError("x")) is None
