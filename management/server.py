"""The web server of a state directory: start, stop, what it runs with. Knows the process, not the application."""

from __future__ import annotations

import hashlib
import http
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

from management.account import Account
from management.background import Background, Launch, answers
from management.ports import require_free_port
from management.state import PROJECT_DIR, StateDirectory

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
    options: ServerOptions


def configuration_digest(state: StateDirectory, variables: Mapping[str, str] = NO_VARIABLES) -> str:
    """Of everything in the environment, over it, and in the application's file that the settings may read."""
    environment = {**os.environ, **variables}.items()
    lines = sorted(f"{name}={value}" for name, value in environment if name.startswith("HIGHLOAD_"))
    text = "\n".join([*lines, state.application_env.read_text("utf-8")])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def running_server(state: StateDirectory) -> RunningServer | None:
    """The server that runs for this state directory, or None."""
    running = _process(state).find()
    return None if running is None else RunningServer(running.pid, ServerOptions(**running.options))


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
    stop_server(state)
    require_free_port(options.port, purpose="HTTP", option="--http-port")
    return _start(options, state, variables), True


def stop_server(state: StateDirectory) -> bool:
    """Let it finish its requests and end. False when it did not run.

    Raises:
        OperationError: It does not end.
    """
    return _process(state).end()


def _start(options: ServerOptions, state: StateDirectory, variables: Mapping[str, str]) -> RunningServer:
    environment = {
        **os.environ,
        **variables,
        "HIGHLOAD_STATE": str(state.root),
        "HIGHLOAD_HTTP_PORT": str(options.port),
        "HIGHLOAD_PROFILE": options.profile,
    }
    arguments = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn/gunicorn.conf.py", "highload.wsgi"]
    pid = _process(state).start(
        Launch(arguments, environment, PROJECT_DIR, Account(None)),
        options=asdict(options),
        is_ready=lambda: _is_ready(options.port),
    )
    return RunningServer(pid, options)


def _process(state: StateDirectory) -> Background:
    return Background("web server", state.server, state.log_dir / "gunicorn.log")


def _is_ready(port: int) -> bool:
    # 400: it serves, but not under this name (HIGHLOAD_ALLOWED_HOSTS).
    return answers(port, "/readyz", with_status={http.HTTPStatus.OK, http.HTTPStatus.BAD_REQUEST})
