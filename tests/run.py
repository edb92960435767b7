"""One run of the suite: its directory, and the guard that leaves nothing of it behind, whatever ends it.

Also of the benchmarks. A run is a process and those it starts, the workers of pytest-xdist among them.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import psutil

from management.state import PROJECT_DIR, StateDirectory

VARIABLE: Final = "TESTS_RUN"
"""In the environment of all that a run starts: the run's directory. The guard knows them by it."""
_MEMORY: Final = "/dev/shm"
_MEMORY_BYTES: Final = 6 << 30
"""Two at once take about 3 GiB."""


@cache
def run_directory() -> Path:
    """The directory of this run. The first process that asks makes it, and sets a guard over it."""
    if VARIABLE in os.environ:
        tempfile.tempdir = os.environ[VARIABLE]
        return Path(os.environ[VARIABLE])
    # PostgreSQL may run as another user than pytest: its data must lie where that user can go.
    directory = Path(tempfile.mkdtemp(prefix="highload-tests-", dir=_place()))
    directory.chmod(0o755)
    _set_guard(directory)
    os.environ[VARIABLE] = str(directory)
    # A start of Python compiles nothing anew. The files are ignored by git.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # So that what the programs it starts put into /tmp is in there, too.
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    return directory


def _place() -> str:
    """TMPDIR if it is set; else memory, where a cluster is copied in a fifth of the time, if there is enough of it."""
    if "TMPDIR" in os.environ or not Path(_MEMORY).is_dir():
        return tempfile.gettempdir()
    file_system = os.statvfs(_MEMORY)
    free_bytes = min(file_system.f_bavail * file_system.f_frsize, psutil.virtual_memory().available)
    is_fit = free_bytes >= _MEMORY_BYTES and not file_system.f_flag & os.ST_NOEXEC
    return _MEMORY if is_fit else tempfile.gettempdir()


def environment_of(state: StateDirectory) -> dict[str, str]:
    """Of a process that works on this system and no other."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HIGHLOAD_")}
    kept = {name: value for name, value in os.environ.items() if name.startswith("HIGHLOAD_ARGON2_")}
    return {**own, **kept, "HIGHLOAD_STATE": str(state.root), "DJANGO_SETTINGS_MODULE": "highload.settings"}


def _set_guard(directory: Path) -> None:
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.guard", str(directory)],
        cwd=PROJECT_DIR,
        # It waits for the end of this pipe, which the end of this process is in any case.
        stdin=subprocess.PIPE,
        # Ctrl-C is for the run.
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != VARIABLE},
    )
    own_pid = os.getpid()

    def relieve() -> None:
        # A forked child ends by itself; the run goes on.
        if os.getpid() == own_pid:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            guard.communicate()

    atexit.register(relieve)
