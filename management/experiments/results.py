"""The result file of a load, as JMeter writes it (CSV): its samples, and what they say together."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from management.errors import Unknown

COLUMNS: Final = (
    "timeStamp",
    "elapsed",
    "label",
    "responseCode",
    "responseMessage",
    "threadName",
    "dataType",
    "success",
    "failureMessage",
    "bytes",
    "sentBytes",
    "grpThreads",
    "allThreads",
    "URL",
    "Latency",
    "IdleTime",
    "Connect",
    "email",
)
"""Apache JMeter User's Manual, Listeners, CSV log format; `email` by `sample_variables`."""
_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a load."""

    started_at: float
    """Seconds since 1970."""
    elapsed_seconds: float
    label: str
    """What it asked for: login, profile, search or register."""
    is_success: bool
    """The answer was the right one, by its body too."""
    code: str
    """HTTP status, or the load tool's words where there was none."""
    reason: str
    """Why it failed; empty if it did not."""
    email: str
    """Of the person it registered; empty for others."""

    @property
    def completed_at(self) -> float:
        """Seconds since 1970."""
        return self.started_at + self.elapsed_seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """What samples say together. Times are those of successful ones."""

    requests: int
    failed: int
    seconds: float
    """From the first beginning to the last end."""
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float

    @property
    def per_second(self) -> float:
        """Successful requests per second."""
        return (self.requests - self.failed) / self.seconds if self.seconds else 0.0


def read_results(file: Path) -> list[Sample]:
    """The samples of a result file, by their beginning.

    Raises:
        Unknown: There are none, or it is no such file.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            samples = [_sample(row) for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise Unknown(f"{file} is not a load's result file: {error!r}") from error
    if not samples:
        raise Unknown(f"{file} holds no samples: the load did not run. See the log beside it.")
    return sorted(samples, key=lambda sample: sample.started_at)


def _sample(row: dict[str, str]) -> Sample:
    return Sample(
        started_at=int(row["timeStamp"]) / _MS,
        elapsed_seconds=int(row["elapsed"]) / _MS,
        label=row["label"],
        is_success=row["success"] == "true",
        code=row["responseCode"],
        reason=row["failureMessage"] or ("" if row["success"] == "true" else row["responseMessage"]),
        email=(row.get("email") or "").removeprefix("null"),
    )


def summarise(samples: Sequence[Sample]) -> Summary:
    """Of at least one sample.

    Raises:
        Unknown: There are none.
    """
    if not samples:
        raise Unknown("No request was made in the time that counts; let the load run longer.")
    good = sorted(sample.elapsed_seconds for sample in samples if sample.is_success)
    return Summary(
        requests=len(samples),
        failed=len(samples) - len(good),
        seconds=max(sample.completed_at for sample in samples) - min(sample.started_at for sample in samples),
        p50_seconds=percentile(good, 50),
        p95_seconds=percentile(good, 95),
        p99_seconds=percentile(good, 99),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value that so many per cent of the ordered ones do not exceed (nearest rank); NaN of none.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 95), percentile([], 50)
    (2, 4, nan)
    """
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def per_second(moments: Iterable[float], began_at: float) -> list[tuple[float, int]]:
    """How many moments fall in each second since the beginning, seconds without one included.

    >>> per_second([10.1, 10.2, 12.5], 10.0)
    [(0.0, 2), (1.0, 0), (2.0, 1)]
    """
    counts = Counter(int(moment - began_at) for moment in moments if moment >= began_at)
    return [(float(second), counts[second]) for second in range(max(counts, default=-1) + 1)]
