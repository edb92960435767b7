"""Opens the routing scope of each request, and says clearly when no node can serve it.

Put it before every middleware that reads the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from routers import metrics, request_state
from routers.errors import PrimaryUnavailable
from routers.failures import is_node_failure

logger = logging.getLogger(__name__)

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 §9.2.1, Safe Methods."""
READS_ONLY_ATTRIBUTE: Final = "reads_only"
"""A view class that sets this to True promises that its unsafe methods write nothing."""
RETRY_AFTER_SECONDS: Final = 2


class RoutingMiddleware:
    """Safe methods read a replica; unsafe ones read the primary, unless their view only reads."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve the request inside its scope."""
        with request_state.scope(pinned=request.method not in SAFE_METHODS):
            return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: Any) -> None:
        """Let the reads of a view that declares `reads_only` go to a replica."""
        view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
        scope = request_state.current_scope()
        if scope is not None and getattr(view_class, READS_ONLY_ATTRIBUTE, False):
            scope.pinned = False

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Turn the failure of a node into 503 with Retry-After, and leave every other error alone."""
        if isinstance(error, PrimaryUnavailable):
            metrics.WRITES_REFUSED.inc()
            logger.warning("%s %s: %s", request.method, request.path, error)
            if request.method in SAFE_METHODS:
                return unavailable("No node", "No database node can serve this request at the moment.")
            return unavailable("No primary", "The database accepts no writes at the moment. This one was not made.")
        if is_node_failure(error):
            logger.warning("%s %s: %s", request.method, request.path, error)
            detail = "The database node that served this request failed."
            if request.method not in SAFE_METHODS:
                detail += " Whether the change was made is unknown: look before you repeat it."
            return unavailable("Node failed", detail)
        return None


def unavailable(title: str, detail: str, **members: Any) -> JsonResponse:
    """RFC 9457 problem details of a 503, with members of one's own."""
    return JsonResponse(
        {"type": "about:blank", "title": title, "status": 503, "detail": detail, **members},
        status=503,
        content_type="application/problem+json",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
