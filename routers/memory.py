"""The newest timeline this cluster has shown, kept in a file: a new process must not trust an older one.

A worker that starts while only the old primary is up would otherwise believe it.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownHistory:
    """What was seen, by this process or an earlier one."""

    system_identifier: int
    timeline: int


def read_history(file: Path) -> KnownHistory | None:
    """What is remembered, or None before the first time. A damaged file counts as none, and is logged."""
    try:
        raw = json.loads(file.read_text())
        return KnownHistory(int(raw["system_identifier"]), int(raw["timeline"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        logger.exception("%s cannot be read: a returned old primary would not be recognised", file)
        return None


def remember_history(file: Path, seen: KnownHistory) -> None:
    """Write it if it is newer than what the file has. A file that cannot be written is logged."""
    known = read_history(file)
    if known is not None and known.system_identifier == seen.system_identifier and known.timeline >= seen.timeline:
        return
    try:
        # A name of its own: all workers see a promotion at once.
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(seen)) + "\n")
        temporary.replace(file)
    except OSError:
        logger.exception("%s cannot be written: after a restart an old primary would not be recognised", file)
