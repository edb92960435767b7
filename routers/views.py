"""Health of this process and of its way to the database, for load balancers. No query on a request."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from routers import health
from routers.middleware import unavailable
from routers.selection import can_read


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - Django's signature
    """200 as long as the process answers, whatever the database does."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - Django's signature
    """200 if reads can be served, 503 if not; says for each node what routing thinks of it."""
    topology = health.topology()
    is_readable = can_read(topology)
    shown = {
        "reads": is_readable,
        "writes": topology.primary is not None and not topology.is_stuck,
        "primary": topology.primary,
        "timeline": topology.timeline,
        "nodes": {
            node.alias: {
                "role": node.status.role if node.status else None,
                "condition": node.condition,
                "lagBytes": node.lag_bytes,
                "lagSeconds": None if node.lag_seconds is None else round(node.lag_seconds, 3),
            }
            for node in topology.nodes.values()
        },
    }
    if is_readable:
        return JsonResponse({"status": "ok", **shown})
    return unavailable("Not ready", "No node can serve reads.", **shown)
