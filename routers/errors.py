"""The errors of routing. They subclass Django's, so that existing handlers keep working."""

from django.db.utils import OperationalError


class RoutingError(Exception):
    """Base of what this app raises."""


class PrimaryUnavailable(RoutingError, OperationalError):
    """No node is known to be this cluster's primary, so a write cannot be accepted now."""


class RoutingMisconfigured(RoutingError):
    """The settings of routing contradict each other."""
