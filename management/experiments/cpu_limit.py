"""Limits the CPU of each node with a control group, so that the database is the bottleneck of a load."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

import psutil

from management.errors import Refused
from management.local_node import LocalNode
from management.processes import wait_until

PERIOD_MICROSECONDS: Final = 20_000
"""Short, so that a node that has used up its share stands still for milliseconds only."""
QUOTA_MIN_MICROSECONDS: Final = 1_000
"""Linux, Documentation/scheduler/sched-bwc.rst: the smallest quota."""
_REMOVAL_SECONDS: Final = 5.0
_ROOT: Final = Path("/sys/fs/cgroup")
_V1: Final = _ROOT / "cpu"


@contextlib.contextmanager
def cpu_limited(nodes: Sequence[LocalNode], percent: float) -> Iterator[None]:
    """Each of the nodes gets so many per cent of one processor, for the time of the context.

    A node also stays on that processor: the kernel hands out a small share as a whole, and what one processor
    does not use of it another must do without. Processes that a node starts meanwhile are limited with it.

    Raises:
        Refused: This machine or this user does not allow it.
    """
    groups = [_root() / f"highload-{os.getpid()}-{node.name}" for node in nodes]
    processors = sorted(os.sched_getaffinity(0))
    try:
        for node, group, processor in zip(nodes, groups, cycle(processors), strict=False):
            _limit(node, group, percent, processor)
        yield
    finally:
        for group in groups:
            _remove(group, processors)


def require_cpu_limits() -> None:
    """Do nothing if a limit can be set here.

    Raises:
        Refused: It cannot; says what is missing.
    """
    group = _root() / f"highload-{os.getpid()}"
    try:
        group.mkdir()
        _write_limit(group, 100.0)
    except OSError as error:
        raise Refused(
            f"The CPU of a node cannot be limited here: {error}. --node-cpu needs root and control groups (cgroup v1 "
            "with the controller cpu, or v2 with cpu in cgroup.subtree_control)."
        ) from error
    finally:
        _remove(group, [])


def quota(percent: float) -> tuple[int, int]:
    """Quota and period in microseconds.

    >>> quota(25), quota(2)
    ((5000, 20000), (1000, 50000))
    """
    wanted = round(PERIOD_MICROSECONDS * percent / 100)
    if wanted >= QUOTA_MIN_MICROSECONDS:
        return wanted, PERIOD_MICROSECONDS
    return QUOTA_MIN_MICROSECONDS, round(QUOTA_MIN_MICROSECONDS * 100 / percent)


def _limit(node: LocalNode, group: Path, percent: float, processor: int) -> None:
    pid = node.pid()
    if pid is None:
        raise Refused(f"{node.name} does not run; its CPU cannot be limited.")
    try:
        group.mkdir()
        _write_limit(group, percent)
        # The postmaster first: what it starts from now on is in the group already.
        for process in (psutil.Process(pid), *psutil.Process(pid).children()):
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(process.pid))
                os.sched_setaffinity(process.pid, {processor})
    except OSError as error:
        raise Refused(f"The CPU of {node.name} cannot be limited: {error}") from error


def _write_limit(group: Path, percent: float) -> None:
    allowed, period = quota(percent)
    if _is_v1():
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(allowed))
    else:
        (group / "cpu.max").write_text(f"{allowed} {period}")


def _remove(group: Path, processors: Sequence[int]) -> None:
    """Free its processes and delete it; one that is just starting may need another look."""
    wait_until(lambda: _is_removed(group, processors), timeout_seconds=_REMOVAL_SECONDS)


def _is_removed(group: Path, processors: Sequence[int]) -> bool:
    try:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(pid), processors)
                (_root() / "cgroup.procs").write_text(pid)
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _is_v1() -> bool:
    return (_V1 / "cpu.shares").exists() or (_V1 / "cpu.cfs_quota_us").exists() or (_V1 / "tasks").exists()


def _root() -> Path:
    return _V1 if _is_v1() else _ROOT
