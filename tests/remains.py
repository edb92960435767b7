"""What a directory of systems would leave behind: processes, data elsewhere, shared memory. Ends and deletes it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from management.background import Background
from management.host import shared_directory
from management.monitoring import monitoring_homes
from management.state import StateDirectory

_POLITE_SECONDS: Final = 3.0
_SECONDS: Final = 30.0
_SHARED_MEMORY_LINE: Final = 6
"""Of postmaster.pid: key and id of a System V segment. PostgreSQL source, src/include/utils/pidfile.h."""
_IPC_RMID: Final = 0
"""Linux, include/uapi/linux/ipc.h."""


@dataclass(frozen=True)
class Remains:
    """Of everything that works in a directory."""

    directory: Path
    variable: str
    """What has the directory in this variable of its environment belongs to it."""

    def clear(self) -> None:
        """End the processes, frozen or not, and delete the directory. Blocks for at most 33 s."""
        self._end_processes()
        # Of a state directory, or of a directory of several.
        for record in self.directory.glob("**/cluster.json"):
            state = StateDirectory(record.parent)
            for elsewhere in (shared_directory(state), monitoring_homes(state)[1]):
                _delete(elsewhere)
        _delete(self.directory)

    def processes(self) -> list[psutil.Process]:
        """Those that are left."""
        recorded = self._recorded_pids()
        return [process for process in psutil.process_iter() if process.pid in recorded or self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            if process.name() == "postgres":
                # Of a node whose postmaster is gone, and who got no environment from the run.
                return Path(process.cwd()).is_relative_to(self.directory) or self._is_marked(process)
            return self._is_marked(process)
        except psutil.Error:
            return False

    def _is_marked(self, process: psutil.Process) -> bool:
        return process.environ().get(self.variable) == str(self.directory)

    def _recorded_pids(self) -> set[int]:
        """Of those that get nothing of anybody's environment, as monitoring, but are written down."""
        records = [*self.directory.glob("run/*.json"), *self.directory.glob("*/run/*.json")]
        running = [Background(record.stem, record, record).find() for record in records]
        return {each.pid for each in running if each is not None}

    def _end_processes(self) -> None:
        polite_until = time.monotonic() + _POLITE_SECONDS
        while (left := self.processes()) and time.monotonic() < polite_until + _SECONDS:
            is_polite = time.monotonic() < polite_until
            for process in left:
                with suppress(psutil.Error):
                    process.resume()
                    # By this one a postmaster ends at once, with its children, and frees its shared memory.
                    is_postgres = process.name() == "postgres"
                    process.send_signal(signal.SIGQUIT if is_polite and is_postgres else signal.SIGKILL)
            time.sleep(0.03)


def _delete(directory: Path) -> None:
    for file in directory.glob("**/postmaster.pid"):
        _free_shared_memory(file)
    shutil.rmtree(directory, ignore_errors=True)


def _free_shared_memory(pid_file: Path) -> None:
    """A node that was killed leaves a segment, and a machine has room for 4,096 of them."""
    with suppress(OSError, IndexError, ValueError):
        _, identifier = pid_file.read_text().splitlines()[_SHARED_MEMORY_LINE].split()
        ctypes.CDLL(None).shmctl(int(identifier), _IPC_RMID, None)
