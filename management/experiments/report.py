"""Writes a report from its chapters: one self-contained HTML page, the same as Markdown, and the figures as JSON."""

from __future__ import annotations

import base64
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import psutil
from django.template.loader import render_to_string

from management.experiments.chapter import Chapter, Plot
from management.output import as_json

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures depend on."""

    began_at: datetime
    command: str
    """How to make it again."""
    load_tool: str
    postgresql: str
    is_embedded: bool
    processors: int
    memory_gib: float
    python: str
    django: str
    system: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    circumstances: Circumstances
    chapters: tuple[Chapter, ...]
    left_out: tuple[str, ...]
    """What could not be done here, and why."""

    @property
    def is_met(self) -> bool:
        """Whether every figure of every chapter is within its limits."""
        return all(chapter.is_met for chapter in self.chapters)


def circumstances(*, command: str, load_tool: str, postgresql: str, is_embedded: bool) -> Circumstances:
    """Of this machine, now."""
    return Circumstances(
        began_at=datetime.now(UTC),
        command=command,
        load_tool=load_tool,
        postgresql=postgresql,
        is_embedded=is_embedded,
        processors=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / _GIB, 1),
        python=platform.python_version(),
        django=django.get_version(),
        system=f"{platform.system()} {platform.machine()}",
    )


def write_report(report: Report, folder: Path) -> Path:
    """Write all three beside the plots; the HTML page."""
    page = folder / "report.html"
    page.write_text(
        _render("html", report, {plot.file.name: _embedded(plot) for plot in _plots(report.chapters)}), "utf-8"
    )
    (folder / "report.md").write_text(
        _render("md", report, {plot.file.name: plot.file.name for plot in _plots(report.chapters)}),
        "utf-8",
    )
    (folder / "report.json").write_text(as_json(report) + "\n")
    return page


def _render(form: str, report: Report, addresses: dict[str, str]) -> str:
    chapters = [
        {
            "chapter": chapter,
            "plots": [{"caption": p.caption, "address": addresses[p.file.name]} for p in chapter.plots],
        }
        for chapter in report.chapters
    ]
    context: dict[str, Any] = {"report": report, "chapters": chapters}
    return render_to_string(f"management/report.{form}", context)


def _plots(chapters: Sequence[Chapter]) -> list[Plot]:
    return [plot for chapter in chapters for plot in chapter.plots]


def _embedded(plot: Plot) -> str:
    """The picture itself as an address."""
    return f"data:image/png;base64,{base64.b64encode(plot.file.read_bytes()).decode()}"
