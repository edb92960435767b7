"""The edges that no view sees: text in another encoding than UTF-8, and errors that are no problem documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import parse_header_parameters

from users.api.problems import CONTENT_TYPE, as_problem, is_for_people


class ProblemDetailsMiddleware:
    """Gives every error outside the admin the shape of RFC 9457. Put it first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve the request, and reshape what went wrong."""
        response = self._get_response(request)
        if (
            response.status_code >= HTTPStatus.BAD_REQUEST
            and isinstance(response, HttpResponse)
            and response.get("Content-Type") != CONTENT_TYPE
            and not is_for_people(request)
        ):
            return _reshaped(response)
        return response


def _reshaped(response: HttpResponse) -> HttpResponse:
    status = HTTPStatus(response.status_code)
    problem = as_problem(status, f"{status.phrase}.")
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response:
            problem[name] = response[name]
    return problem


WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def only_utf8(application: WSGIApplication) -> WSGIApplication:
    """A WSGI application that refuses requests in another charset, before Django decodes with what they name.

    Python has codecs that decode no text (`zlib`, `rot13`); Django's request fails on them in its constructor.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            _, parameters = parse_header_parameters(environ.get("CONTENT_TYPE") or "")
        except ValueError:
            parameters = {"charset": "unreadable"}
        if parameters.get("charset", "utf-8").lower() in {"utf-8", "utf8"}:
            return application(environ, start_response)
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        answer = as_problem(status, "Only the charset utf-8 is supported.")
        start_response(f"{status.value} {status.phrase}", list(answer.items()))
        return [answer.content]

    return guarded
