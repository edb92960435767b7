"""Keeps a node from accepting writes: kills it, and makes its next start read-only."""

from __future__ import annotations

from management.host import Host
from management.local_node import STOP_IMMEDIATE, LocalNode
from management.talk import Say


def fence(node: LocalNode, host: Host, *, say: Say) -> None:
    """End the node if it runs, frozen or not, and leave a `standby.signal`. Repeatable.

    The signal first: whoever starts it in between gets a replica.

    Raises:
        OperationError: It does not end.
    """
    node.fence(host)
    if node.pid() is not None:
        node.kill()
        say(f"{node.name} killed")
    say(f"{node.name} fenced: its next start is read-only")


def stop_and_fence(node: LocalNode, host: Host, *, say: Say) -> None:
    """The same for a replica, whose readers may be told."""
    node.fence(host)
    if node.stop(how=STOP_IMMEDIATE):
        say(f"{node.name} stopped")
    say(f"{node.name} fenced: it stays stopped until unfence_node or rejoin_node")
