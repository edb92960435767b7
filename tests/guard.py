"""Waits until a run of the suite has ended, and clears what it has left.

    python -m tests.guard DIRECTORY

The run holds the other end of standard input. That it has ended is all the guard needs to know: it was done, Ctrl-C or
a signal ended it, a worker crashed, or somebody killed it with -9.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.remains import Remains
from tests.run import VARIABLE

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    remains = Remains(Path(sys.argv[1]), VARIABLE)
    remains.clear()
    if remains.directory.exists() or remains.processes():
        pids = ", ".join(str(process.pid) for process in remains.processes())
        sys.stderr.write(f"The tests have left something behind: {remains.directory}, processes: {pids or 'none'}\n")
