"""Opens the routing scope of each request, and says clearly when no node can serve it.

Put it before every middleware that reads the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import reduce
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from routers import metrics, request_state
from routers.conf import PRIMARY_ALIAS, RoutingSettings, routing_settings
from routers.consistency import next_token, read_token
from routers.errors import PrimaryOverloaded, PrimaryUnavailable
from routers.failures import is_node_failure
from routers.headers import STATUS_HEADER, TOKEN_HEADER
from routers.request_state import Scope
from routers.token import Token, sign

logger = logging.getLogger(__name__)

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 §9.2.1, Safe Methods."""
READS_ONLY_ATTRIBUTE: Final = "reads_only"
"""A view class that sets this to True promises that its unsafe methods write nothing."""
MAY_BE_STALE_ATTRIBUTE: Final = "may_be_stale"
"""A view class that sets this to True prefers an old answer to none when the primary is over its budget."""
RETRY_AFTER_SECONDS: Final = 2


class RoutingMiddleware:
    """Safe methods read a replica; unsafe ones read the primary, unless their view only reads."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve the request inside its scope, and hand the client's token on."""
        conf = routing_settings()
        token = _brought(request, conf) if conf.consistency_tokens else None
        with request_state.scope(pinned=request.method not in SAFE_METHODS, token=token) as scope:
            response = self._get_response(request)
            _hand_on(response, scope, conf)
            return response

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: Any) -> None:
        """Let the reads of a view that declares `reads_only` go to a replica."""
        view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
        scope = request_state.current_scope()
        if scope is None:
            return
        if getattr(view_class, READS_ONLY_ATTRIBUTE, False):
            scope.pinned = False
        scope.may_be_stale = getattr(view_class, MAY_BE_STALE_ATTRIBUTE, False)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Turn the failure of a node into 503 with Retry-After, and leave every other error alone."""
        if isinstance(error, PrimaryOverloaded):
            logger.warning("%s %s: %s", request.method, request.path, error)
            return unavailable("Overloaded", "No replica can serve this read now, and the primary is busy.")
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


def _brought(request: HttpRequest, conf: RoutingSettings) -> Token | None:
    """What the client has seen, by its header and its cookies together: a browser sends them all."""
    cookies = (conf.token_cookie, conf.seen_cookie) if conf.token_cookie else ()
    texts = [request.headers.get(TOKEN_HEADER, ""), *(request.COOKIES.get(name, "") for name in cookies)]
    tokens = [token for token in map(read_token, texts) if token is not None]
    return reduce(lambda one, two: one.merged(two, several_nodes=PRIMARY_ALIAS), tokens) if tokens else None


def _hand_on(response: HttpResponseBase, scope: Scope, conf: RoutingSettings) -> None:
    """Tell the client what its next request must not fall behind, and the truth about this answer."""
    token = next_token(scope)
    if token is not None and token != scope.token:
        text = sign(token)
        response.headers[TOKEN_HEADER] = text
        if conf.token_cookie:
            _set_cookies(response, text, conf, has_written=scope.written_on is not None)
        metrics.TOKENS.labels("given").inc()
    if scope.truth is not None:
        response.headers[STATUS_HEADER] = scope.truth.value
        metrics.ANSWERS.labels(scope.truth.value).inc()
    if conf.server_timing and scope.reason:
        response.headers["Server-Timing"] = f'db;desc="{scope.node or PRIMARY_ALIAS} {scope.reason}"'


def _set_cookies(response: HttpResponseBase, text: str, conf: RoutingSettings, *, has_written: bool) -> None:
    """What was written in one cookie, what was seen in another.

    A browser asks in parallel, and the last answer wins: a read that began before a write must not make it
    forget the write. What was written covers all that was seen before.
    """
    name = conf.token_cookie if has_written else conf.seen_cookie
    response.set_cookie(name, text, httponly=True, samesite="Lax", secure=conf.token_cookie_secure)
    if has_written:
        response.delete_cookie(conf.seen_cookie, samesite="Lax")


def unavailable(title: str, detail: str, **members: Any) -> JsonResponse:
    """RFC 9457 problem details of a 503, with members of one's own."""
    return JsonResponse(
        {"type": "about:blank", "title": title, "status": 503, "detail": detail, **members},
        status=503,
        content_type="application/problem+json",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
