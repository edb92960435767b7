"""Free TCP ports for what tests start: each process has a block of them, which no other run takes from."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Final

_FIRST: Final = 15_000
_SIZE: Final = 500
_BLOCKS: Final = 34
"""Up to 32,000: below the range that the kernel gives to outgoing connections."""


@dataclass
class _Block:
    """The ports after that of a listening socket, which marks the block as taken while this process lives."""

    mark: socket.socket
    used: int = 1

    def take(self, count: int) -> int:
        for _ in range(_SIZE):
            # Round and round, so that the port of a node that is killed for a while is not given away.
            offset = self.used if self.used + count <= _SIZE else 1
            self.used = offset + count
            first = self.mark.getsockname()[1] + offset
            if _are_free(first, count):
                return first
        raise RuntimeError(f"No {count} ports in a row are free above {self.mark.getsockname()[1]}.")


@cache
def _block() -> _Block:
    chance = random.SystemRandom()
    for number in chance.sample(range(_BLOCKS), _BLOCKS):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", _FIRST + number * _SIZE))
            mark.listen()
        except OSError:
            mark.close()
        else:
            return _Block(mark)
    raise RuntimeError(f"Every block of {_SIZE} ports from {_FIRST} on is taken by another run of the tests.")


def _are_free(first: int, count: int) -> bool:
    with ExitStack() as taken:
        try:
            for port in range(first, first + count):
                taken.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    return _block().take(count)
