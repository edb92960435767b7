"""How a command writes to its standard streams, whatever they are connected to and in whatever language."""

from __future__ import annotations

import io
from typing import TextIO


def prepare_streams(*streams: TextIO) -> None:
    """Write each line at once, and what the locale's encoding lacks as a question mark.

    A redirected stdout would keep its lines until the end, long after those of stderr and of other programs
    in the same file. A strict one would end a command in the middle of a Russian name.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", line_buffering=True)
