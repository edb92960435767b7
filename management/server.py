"""The web server of a state directory: start, stop, what it runs with. Knows the process, not the application."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

import psutil

from management.errors import OperationError
from management.ports import require_free_port
from management.processes import is_gone, wait_until
from management.state import PROJECT_DIR, StateDirectory

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the application is served."""

    port: int
    profile: str
    configuration: str
    """Digest of its settings: with others it must be started again."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A gunicorn master that runs."""

    pid: int
    started_at: float
    """Its process's creation time; a pid alone may have been inherited."""
    options: ServerOptions


def configuration_digest(state: StateDirectory, variables: Mapping[str, str] = NO_VARIABLES) -> str:
    """Of everything in the environment, over it, and in the application's file that the settings may read."""
    environment = {**os.environ, **variables}.items()
    lines = sorted(f"{name}={value}" for name, value in environment if name.startswith("HIGHLOAD_"))
    text = "\n".join([*lines, state.application_env.read_text()])
    return hashlib.sha256(text.encode()).hexdigest()


def running_server(state: StateDirectory) -> RunningServer | None:
    """The server that runs for this state directory, or None."""
    try:
        raw = json.loads(state.server.read_text())
        found = RunningServer(raw["pid"], raw["started_at"], ServerOptions(**raw["options"]))
        process = psutil.Process(found.pid)
        is_ours = process.create_time() == found.started_at and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None
    return found if is_ours else None


def ensure_server(
    options: ServerOptions, state: StateDirectory, *, variables: Mapping[str, str] = NO_VARIABLES
) -> tuple[RunningServer, bool]:
    """The server that runs with these options, and whether it was started now; another one is replaced.

    Args:
        options: How it shall run.
        state: Whose it is.
        variables: Of its environment, over those of this process.

    Raises:
        Refused: The port is taken.
        OperationError: It does not get ready.
    """
    running = running_server(state)
    if running is not None and running.options == options and _is_ready(options.port):
        return running, False
    if running is not None:
        stop_server(state)
    require_free_port(options.port, purpose="HTTP", option="--http-port")
    return _start(options, state, variables), True


def stop_server(state: StateDirectory) -> bool:
    """Let it finish its requests and end. False when it did not run.

    Raises:
        OperationError: It does not end.
    """
    running = running_server(state)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    if not wait_until(lambda: is_gone(running.pid), timeout_seconds=STOP_SECONDS):
        raise OperationError(f"gunicorn (pid {running.pid}) did not stop within {STOP_SECONDS:.0f} s.")
    state.server.unlink(missing_ok=True)
    return True


def _start(options: ServerOptions, state: StateDirectory, variables: Mapping[str, str]) -> RunningServer:
    log_file = state.log_dir / "gunicorn.log"
    with os.fdopen(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn/gunicorn.conf.py", "highload.wsgi"],
            cwd=PROJECT_DIR,
            env={
                **os.environ,
                **variables,
                "HIGHLOAD_STATE": str(state.root),
                "HIGHLOAD_HTTP_PORT": str(options.port),
                "HIGHLOAD_PROFILE": options.profile,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # The terminal's Ctrl-C is for the one who started it, who then stops things in order.
            start_new_session=True,
        )
    server = RunningServer(process.pid, psutil.Process(process.pid).create_time(), options)
    state.server.write_text(json.dumps(asdict(server)) + "\n")
    if not wait_until(lambda: _is_ready(options.port) or process.poll() is not None, timeout_seconds=READY_SECONDS):
        stop_server(state)
        raise OperationError(f"The web server was not ready after {READY_SECONDS:.0f} s; see {log_file}")
    if process.poll() is not None:
        raise OperationError(f"The web server ended with exit code {process.returncode}; see {log_file}")
    return server


def _is_ready(port: int) -> bool:
    try:
        # Past any proxy of the environment: this is a question to the machine itself.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            # 400: it serves, but not under this name (HIGHLOAD_ALLOWED_HOSTS).
            return connection.getresponse().status in {http.HTTPStatus.OK, http.HTTPStatus.BAD_REQUEST}
    except (OSError, http.client.HTTPException):
        return False
