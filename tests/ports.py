"""Free TCP ports for what tests start."""

from management.ports import free_ports

__all__ = ["free_ports"]
