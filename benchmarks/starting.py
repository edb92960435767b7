"""What each operator's command takes of the processor until it begins its work: `--help`, and a refusal.

    .venv/bin/python -m benchmarks.starting [--rounds 9] [--project DIR]

The commands take turns, so that what else the machine does meets all alike. Prints the median and the least of user
and system time together. Needs no cluster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from management.state import PROJECT_DIR


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--project", type=Path, default=PROJECT_DIR, help="another checkout, to compare with")
    options = parser.parse_args()
    names = sorted(path.stem for path in (options.project / "management/management/commands").glob("[a-z]*.py"))
    starts = [
        *(["manage.py", name, "--help"] for name in names),
        ["manage.py", "check_lag"],
        *(["-m", f"deploy.{name}", "--help"] for name in ("start_all", "stop_all")),
    ]
    taken = defaultdict[str, list[float]](list)
    with tempfile.TemporaryDirectory() as empty:
        for _ in range(options.rounds + 1):
            for start in starts:
                taken[" ".join(start)].append(cpu_seconds(start, options.project, empty))
    for command, seconds in taken.items():
        # The first compiles what has not been compiled yet.
        print(f"{command:<40} {statistics.median(seconds[1:]):.2f} {min(seconds[1:]):.2f}")


def cpu_seconds(start: list[str], project: Path, state: str) -> float:
    """User and system time of one start."""
    environment = {**os.environ, "HIGHLOAD_STATE": state, "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen(
        [sys.executable, *start],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
