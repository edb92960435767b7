"""Whether a TCP port of this machine is free, and who holds it."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

import psutil

from management.errors import Refused


def require_free_port(port: int, *, purpose: str, option: str) -> None:
    """Do nothing if the port can be bound on loopback.

    Raises:
        Refused: It is taken; names the port and its holder.
    """
    if not 1 <= port <= 65535:  # noqa: PLR2004 - the range of TCP ports
        raise Refused(f"Port {port} for {purpose} is not between 1 and 65535; choose another with {option}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(
                f"Port {port} for {purpose} is not available ({error.strerror}): {holder_of(port)}. "
                f"Stop it, or choose another port with {option}."
            ) from error


def holder_of(port: int) -> str:
    """Name and pid of the listener, as far as this user may see them."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                break
            try:
                return f"held by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"held by pid {connection.pid}"
    return "held by a process of another user"


def free_ports(count: int) -> int:
    """The first of so many free ports in a row; below the range the kernel gives to outgoing connections.

    At random, so that two runs on one machine do not take each other's: a killed node's port is free for a while.
    """
    chance = random.SystemRandom()
    while True:
        first = chance.randrange(15_000, 32_000)
        with ExitStack() as taken:
            try:
                for port in range(first, first + count):
                    taken.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
