"""A process that outlives the command that started it: recorded in a file, found again, ended in order."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from management.account import Account
from management.errors import OperationError
from management.processes import is_gone, wait_until

READY_SECONDS: Final = 120.0
"""A busy machine is slow, and that is no reason to end what starts; one that has failed ends by itself."""
STOP_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    account: Account


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs, as its record tells."""

    pid: int
    started_at: float
    """Its creation time; a pid alone may have been inherited."""
    options: Mapping[str, Any]
    """What it was started with, in the words of the room that started it."""


@dataclass(frozen=True, slots=True)
class Background:
    """One process of a system, running or not."""

    name: str
    """In words, as after "the"."""
    record: Path
    log_file: Path

    def find(self) -> Running | None:
        """The process if it runs, or None."""
        try:
            found = Running(**json.loads(self.record.read_text()))
            process = psutil.Process(found.pid)
            is_ours = process.create_time() == found.started_at and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, TypeError, psutil.NoSuchProcess):
            return None
        return found if is_ours else None

    def start(self, launch: Launch, *, options: Mapping[str, Any], is_ready: Callable[[], bool]) -> int:
        """Start it, record it, wait until it is ready, and return its pid.

        Raises:
            OperationError: It ended, or did not get ready in time and was ended.
        """
        with os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            process = subprocess.Popen(
                launch.arguments,
                cwd=launch.cwd,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # The terminal's Ctrl-C is for the one who started it, who then stops things in order.
                start_new_session=True,
                **launch.account.identity(),
            )
        started_at = psutil.Process(process.pid).create_time()
        self.record.write_text(
            json.dumps({"pid": process.pid, "started_at": started_at, "options": dict(options)}) + "\n"
        )
        if not wait_until(lambda: process.poll() is not None or is_ready(), timeout_seconds=READY_SECONDS):
            self.end()
            raise OperationError(f"The {self.name} was not ready after {READY_SECONDS:.0f} s; see {self.log_file}")
        if process.poll() is not None:
            raise OperationError(f"The {self.name} ended with exit code {process.returncode}; see {self.log_file}")
        return process.pid

    def end(self) -> bool:
        """Let it finish what it does and end. False when it did not run.

        Raises:
            OperationError: It does not end.
        """
        running = self.find()
        if running is not None:
            os.kill(running.pid, signal.SIGTERM)
            if not wait_until(lambda: is_gone(running.pid), timeout_seconds=STOP_SECONDS):
                raise OperationError(f"The {self.name} (pid {running.pid}) did not stop within {STOP_SECONDS:.0f} s.")
        self.record.unlink(missing_ok=True)
        return running is not None


def answers(port: int, path: str, *, with_status: Collection[int] = (http.HTTPStatus.OK,)) -> bool:
    """Whether a GET of this path on this machine gets one of these answers within two seconds."""
    try:
        # Past any proxy of the environment: this is a question to the machine itself.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status in with_status
    except (OSError, http.client.HTTPException):
        return False
