"""The processes of a node on this machine: finds them, kills them, starts them as they were. Knows no SQL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from routers.errors import RoutingError

_GONE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_started: list[subprocess.Popen[bytes]] = []
"""They outlive their test, and a Popen that is forgotten before its process ends warns."""


class NodeError(RoutingError):
    """A node is not what the test takes it for, or did not do in time what it should."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The first process of a node, and how to start it again."""

    process: psutil.Process
    launch: dict[str, Any] = field(repr=False)
    """Popen's keywords for the very program, arguments, directory, environment and user it had."""

    def kill(self) -> None:
        """End it and its children at once, and wait until they are gone: at most 10 s, else NodeError."""
        # Stopped, it starts no child that would not be seen here.
        self.process.suspend()
        family = [*self.process.children(recursive=True), self.process]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        deadline = time.monotonic() + _GONE_SECONDS
        while not all(map(_is_gone, family)):
            if time.monotonic() > deadline:
                raise NodeError(f"postmaster {self.process.pid} or a child is still there after kill -9.")
            time.sleep(_POLL_SECONDS)

    def start(self, log: Path) -> None:
        """Start it, to outlive this process, and do not wait for it. PostgreSQL itself overcomes postmaster.pid.

        Raises:
            NodeError: The killed one is still a zombie after 10 s: PostgreSQL would take it for running.
        """
        try:
            self.process.wait(_GONE_SECONDS)
        except psutil.TimeoutExpired as error:
            raise NodeError(f"nobody reaps postmaster {self.process.pid}: give the container an init.") from error
        detached: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True}
        with log.open("ab") as output:
            _started.append(subprocess.Popen(**self.launch, **detached, stdout=output, stderr=output))


def find_postmaster(alias: str, data_directory: Path, *, child_pid: int) -> Postmaster:
    """The postmaster that has this directory and this child: a container may show a path that is here, too.

    Raises:
        NodeError: There is none, or it belongs to another user.
    """
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid = int((data_directory / "postmaster.pid").read_text().split("\n")[0])
        if psutil.Process(child_pid).ppid() == pid:
            process = psutil.Process(pid)
            return Postmaster(process, _launch_of(process))
    raise NodeError(
        f"{alias} is no process of this machine that user {os.geteuid()} may kill and start again: no such postmaster "
        f"of {data_directory} was found. Run the tests where the node runs, outside a container, as its user or root."
    )


def _launch_of(process: psutil.Process) -> dict[str, Any]:
    command, program = process.cmdline(), process.exe()
    launch = {"args": command, "executable": program, "cwd": process.cwd(), "env": process.environ()}
    if os.geteuid() != 0:
        return launch
    uid, gid = process.uids().effective, process.gids().effective
    return {**launch, "user": uid, "group": gid, "extra_groups": os.getgrouplist(process.username(), gid)}


def _is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, even if its parent has not noticed yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
