"""System checks of the routing settings. Each has a stable id and a hint, and a line in docs/reference/checks.md.

They look at settings only: no node is asked.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage

from routers.checks import aliases, nodes, storage, tokens, values, wiring
from routers.checks.finding import finding
from routers.conf import routing_settings
from routers.errors import RoutingMisconfigured

CHECKS: Final = (*values.CHECKS, *nodes.CHECKS, *aliases.CHECKS, *wiring.CHECKS, *storage.CHECKS, *tokens.CHECKS)


def check_routing(**_: Any) -> list[CheckMessage]:
    """All findings on `settings.ROUTERS` and what it depends on."""
    wrong_kinds = list(values.check_kinds(getattr(settings, "ROUTERS", {})))
    if wrong_kinds:
        return wrong_kinds
    try:
        conf = routing_settings()
    except (RoutingMisconfigured, TypeError) as error:
        return [finding("routers.E001", str(error), hint="See the settings reference.")]
    return [found for check in CHECKS for found in check(conf)]
