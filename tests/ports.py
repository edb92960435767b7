"""Free TCP ports for what tests start."""

import random
import socket

_random = random.SystemRandom()


def free_ports(count: int) -> int:
    """The first of so many free ports in a row; below the range the kernel gives to outgoing connections.

    At random, so that two runs on one machine do not take each other's: a killed node's port is free for a while.
    """
    while True:
        first = _random.randrange(15_000, 32_000)
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
