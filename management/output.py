"""Results on stdout: tables for people, JSON for programs. One value, two writers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from management.survey import Survey


def as_json(value: Any) -> str:
    """A dataclass (or a list of them) as JSON, names as they are in the code, units included."""
    return json.dumps(value, default=_plain, indent=2)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def as_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """A table in plain text, as wide as its content.

    >>> print(as_table(("node", "role"), [("pg1", "primary"), ("pg2", "replica")], title="cluster"))
    cluster
    node  role
    pg1   primary
    pg2   replica
    """
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([title, *shown] if title else shown)


def show_bytes(count: int | None) -> str:
    """A size for people; a dash if unknown.

    >>> show_bytes(0), show_bytes(1536), show_bytes(None)
    ('0 B', '1.5 KiB', '–')
    """
    if count is None:
        return "–"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - binary units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def show_seconds(seconds: float | None) -> str:
    """A duration for people; a dash if unknown.

    >>> show_seconds(0.0123), show_seconds(2.5), show_seconds(None)
    ('12 ms', '2.5 s', '–')
    """
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def describe_survey(survey: Survey) -> str:
    """The nodes as they are now."""
    rows = [
        (
            name,
            found.status.role if found.status else found.evidence,
            str(found.status.timeline) if found.status else "–",
            str(found.status.lsn) if found.status else "–",
        )
        for name, found in survey.nodes.items()
    ]
    return as_table(("node", "role", "timeline", "LSN"), rows)
