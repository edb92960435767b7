"""What `test_remains.py` runs as a suite of its own, and ends: it starts a system, says what of it runs, and stays."""

import json
import os
import signal
import threading
from pathlib import Path

from tests.run import run_directory

STARTED = "TESTS_STARTED"
"""The variable with the file that says what was started."""
END = "TESTS_END"
"""The variable with how this test ends. By itself it never does."""


def test_starts_things_and_stays(make_system, tmp_path):
    system = make_system()
    names = ("pg1", "pg2", "pg3")
    pids = [system.server.pid, *(system.node(name).pid() for name in names)]
    ports = [system.server.options.port, *(system.record.node(name).port for name in names)]
    segments = [
        (system.node(name).data_dir / "postmaster.pid").read_text().splitlines()[6].split()[1] for name in names
    ]
    system.kill("pg3")
    os.kill(system.node("pg2").pid(), signal.SIGSTOP)
    started = {"directories": [str(run_directory()), str(tmp_path)], "pids": pids, "ports": ports, "segments": segments}
    file = Path(os.environ[STARTED])
    file.with_suffix(".new").write_text(json.dumps(started))
    file.with_suffix(".new").rename(file)
    if os.environ[END] == "failure":
        raise AssertionError("as it was told")
    if os.environ[END] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()
