"""The errors of routing. They subclass Django's, so that existing handlers keep working."""

from django.db.utils import InternalError, OperationalError


class RoutingError(Exception):
    """Base of what this app raises."""


class PrimaryUnavailable(RoutingError, OperationalError):
    """No node is known to be this cluster's primary, so a write cannot be accepted now."""


class PrimaryOverloaded(RoutingError, OperationalError):
    """No replica can serve this read, and the primary's budget for such reads is spent."""


class WriteOnReadNode(RoutingError, InternalError):
    """A statement that writes was sent to a read-only alias. It was not made."""


class NotCommitted(RoutingError):
    """A consistency token was asked for inside a transaction that has written: its position is not known yet."""


class RoutingMisconfigured(RoutingError):
    """The settings of routing contradict each other."""
