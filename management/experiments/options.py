"""What can be asked of the experiments. Knows neither how they are made nor how their report is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from management.experiments.load import Generator

ALL_REPLICAS: Final = 3
"""Of the system on which `all` compares numbers of replicas."""


class Name(StrEnum):
    """The experiments."""

    READ = "read"
    LAG = "lag"
    KILL_PRIMARY = "kill-primary"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the load is made."""

    generator: Generator
    rounds: int
    """Of each profile. They take turns, so that what the machine does meanwhile meets both alike."""
    seconds: float
    """Of each round, beside the warm-up."""
    threads: int
    mix: dict[str, int]
    """Per cent of login, profile, search."""
    warm_up_seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class FailoverOptions:
    """How it is made."""

    generator: Generator
    seconds: float
    """Of the load. The primary is killed after half of them."""
    writers: int
    readers: int
    promote_after_seconds: float
    """From the kill to `promote_replica`: how long somebody looks before acting."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is wanted."""

    name: Name
    is_running: bool
    """On the system of the state directory, not on one made for it."""
    replicas: int
    users: int
    """People that are seeded where there are none, and by the experiment on lag."""
    read: ReadOptions
    failover: FailoverOptions
    node_cpu_percent: float | None
    """None: nodes are not limited; `all` then leaves the comparison out."""
    max_lag_bytes: int | None
