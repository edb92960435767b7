"""Every error as RFC 9457 problem details, with DRF's `detail` and an `errors` map of fields."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import exception_handler

from users.errors import EmailTaken, UserError, UserNotFound

CONTENT_TYPE: Final = "application/problem+json"


class Conflict(APIException):
    """RFC 9110 §15.5.10, 409 Conflict."""

    status_code = 409
    default_code = "conflict"


class BodyTooLarge(APIException):
    """RFC 9110 §15.5.14, 413 Content Too Large."""

    status_code = 413
    default_code = "body_too_large"


_STATUS_OF: Final[dict[type[UserError], type[APIException]]] = {EmailTaken: Conflict, UserNotFound: NotFound}


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None means: not an answer, let it be an error."""
    if isinstance(error, UserError):
        error = _STATUS_OF[type(error)](str(error))
    if isinstance(error, RequestDataTooBig):
        error = BodyTooLarge(f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.")
    response = exception_handler(error, context)
    if response is None:
        return None
    response.data = problem(response.status_code, **_describe(error))
    response.content_type = CONTENT_TYPE
    return response


def problem(status: int, *, detail: str, errors: dict[str, Any] | None = None) -> dict[str, Any]:
    """The members of a problem document."""
    members: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return members if errors is None else {**members, "errors": errors}


def _describe(error: Exception) -> dict[str, Any]:
    if isinstance(error, ValidationError):
        errors = error.detail if isinstance(error.detail, dict) else as_serializer_error(error)
        return {"detail": "The request is not valid.", "errors": errors}
    if isinstance(error, Http404):
        return {"detail": "Not found."}
    if isinstance(error, PermissionDenied):
        return {"detail": "You may not do this."}
    detail = error.detail if isinstance(error, APIException) else error
    return {"detail": str(detail.get("detail", detail) if isinstance(detail, dict) else detail)}


def is_for_people(request: HttpRequest) -> bool:
    """Whether a person in a browser reads the answer: the admin's errors stay pages."""
    return request.path.startswith("/admin/")


def as_problem(status: int, detail: str) -> JsonResponse:
    """An answer that is a problem document."""
    return JsonResponse(problem(status, detail=detail), status=status, content_type=CONTENT_TYPE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a request that no view has seen."""
    return defaults.bad_request(request, exception) if is_for_people(request) else as_problem(400, "Bad request.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    return defaults.permission_denied(request, exception) if is_for_people(request) else as_problem(403, "Forbidden.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if is_for_people(request):
        return defaults.page_not_found(request, exception)
    return as_problem(404, f"There is nothing at {request.path}.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. Tells the client nothing of the cause; the log has it."""
    return defaults.server_error(request) if is_for_people(request) else as_problem(500, "Internal error.")
