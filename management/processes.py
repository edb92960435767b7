"""Processes of this machine by pid, and bounded waiting for them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

import psutil

POLL_SECONDS: Final = 0.02


def reap(pid: int) -> None:
    """A dead child of this process stays in the process table until it is waited for. Others' are left alone."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def is_gone(pid: int) -> bool:
    """Whether the process has ended, waited for by its parent or not."""
    reap(pid)
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Poll until the condition holds (True) or the time is over (False)."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
