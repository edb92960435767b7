"""Free TCP ports for what tests start."""

import os
import socket


def free_ports(count: int) -> int:
    """The first of so many free ports in a row; below the range the kernel gives to outgoing connections."""
    for first in range(20_000 + os.getpid() % 5_000, 32_000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, each in enumerate(sockets):
                each.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return first
    raise RuntimeError("no free ports")
