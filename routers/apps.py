"""The Django app `routers`."""

from django.apps import AppConfig
from django.core.checks import register

from routers.checks import check_routing


class RoutersConfig(AppConfig):
    """Registers the system checks."""

    name = "routers"

    def ready(self) -> None:
        """Register the checks."""
        register(check_routing, "routers")
