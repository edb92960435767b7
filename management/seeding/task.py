"""One seeding: what is asked for, within which limits, and what it took. Knows neither models nor vocabularies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

COUNT_MAX: Final = 100_000_000
LAG_LIMIT_MIN_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SeedOptions:
    """Who shall be loaded, and how."""

    count: int
    seed: int
    """The same gives the same people."""
    password: str
    """Of all of them."""
    replace: bool
    """Delete every user first."""
    append: bool
    """Keep the users and the indexes, and add to them."""
    export: Path | None
    """File for `id,email` lines."""
    max_lag_bytes: int | None
    timeout_seconds: float
    """For the replicas to catch up at the end."""


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """What was loaded, and what it took."""

    users: int
    first_id: int
    last_id: int
    seconds: float
    seconds_waiting_for_replicas: float
    seconds_catching_up: float
    """Of these, at the end."""
    peak_memory_bytes: int
    highest_lag_bytes: dict[str, int]
    export: str | None


@dataclass(frozen=True, slots=True)
class Seeded:
    """The end of a seeding."""

    summary: SeedSummary
    behind: list[str]
    """The replicas that did not catch up in time."""
