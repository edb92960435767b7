"""Runs this project's programs in forks of one process that has imported what they need: a start costs no second.

    python -m tests.warm DESCRIPTOR

DESCRIPTOR is a listening socket. A client sends one message, with the files of standard input, output and error; the
process answers with the pid of the fork, then with its exit code. A fork has its own arguments, environment and
descriptors; what Python reads when it starts, as the locale and PYTHON* variables, is its parent's.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Final

from management.state import PROJECT_DIR

_IMPORTED: Final = (
    # Nothing that reads Django's settings: each fork has its own.
    *("django.core.management", "django.contrib.admin", "django.contrib.auth.hashers", "django.db.backends.postgresql"),
    *("environs", "httpx", "prometheus_client", "psutil", "psycopg", "psycopg.types", "rich.progress", "rich.table"),
    *("management.base", "management.promotion", "management.rejoin", "management.setup", "management.switchover"),
)
_MESSAGE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], stdin: str = "", timeout_seconds: float = 250
) -> Outcome:
    """Run `python -m` with these arguments and environment, as `subprocess.run` would.

    Raises:
        subprocess.TimeoutExpired: It did not end in time, and was killed.
    """
    message = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
    ):
        given.write(stdin)
        given.seek(0)
        connection.settimeout(timeout_seconds)
        connection.connect(_address())
        socket.send_fds(connection, [message], [each.fileno() for each in (given, out, err)])
        pid = int(connection.recv(64))
        try:
            code = int(connection.recv(64))
        except BaseException as error:
            # Nobody waits for it any more, and its system is about to be deleted.
            os.killpg(pid, signal.SIGKILL)
            if isinstance(error, TimeoutError):
                raise subprocess.TimeoutExpired(arguments, timeout_seconds) from None
            raise
        return Outcome(code, _whole(out), _whole(err))


def _whole(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@cache
def _address() -> str:
    """Of this process's warm one, which the first call starts. It ends with the run."""
    # In no directory, whose name may be longer than a socket's may be.
    address = f"\0highload-tests-{uuid.uuid4()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    with listener:
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(listener.fileno())],
            cwd=PROJECT_DIR,
            env={name: value for name, value in os.environ.items() if not name.startswith("HIGHLOAD_")},
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    return address


def _serve(descriptor: int) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    # Forks that have answered are nobody's concern.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        _become(descriptors, **json.loads(message))
    connection.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(descriptors: Sequence[int], *, arguments: list[str], environment: dict[str, str]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    module, *sys.argv[1:] = arguments
    code = _exit_code(module)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exit_code(module: str) -> int:
    """Of this module, run as the main program."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return _code_of(end)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _code_of(end: SystemExit) -> int:
    code: Any = end.code
    if code is None or isinstance(code, int):
        return code or 0
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
