"""Processes of this machine by pid, and bounded waiting for them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Final

import psutil

from management.state import PROJECT_DIR

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


def run_to_its_end(
    arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, captures: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program of this project, which must not be left half way: Ctrl-C is handed on to it once, and waited for.

    Args:
        arguments: Its command line.
        environment: None: that of this process.
        captures: Keep what it says, instead of showing it.

    Raises:
        KeyboardInterrupt: It was interrupted, and has ended.
    """
    pipe = subprocess.PIPE if captures else None
    # In a group of its own, or the terminal's Ctrl-C would reach it twice.
    with subprocess.Popen(
        arguments,
        cwd=PROJECT_DIR,
        env=environment,
        stdin=subprocess.DEVNULL if captures else None,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, words = process.communicate()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out or "", words or "")


def hear_termination() -> None:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does: in order, with what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """What is done in this context is done to its end, whatever signal asks this process to stop."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
