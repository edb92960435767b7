"""The log sequence number: a 64-bit position in the WAL, comparable within one timeline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Of one WAL file; initdb's default."""
_FORMAT: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, order=True, slots=True)
class Lsn:
    """A WAL position in bytes. Compare and subtract as numbers, never as text.

    Format: PostgreSQL docs, Data Types, pg_lsn Type (two hexadecimal numbers, high/low 32 bits).
    """

    value: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read PostgreSQL's notation.

        >>> Lsn.parse("16/B374D848").value
        97500059720
        >>> Lsn.parse("0/9") < Lsn.parse("0/10")
        True

        Raises:
            ValueError: The text is not two hexadecimal numbers of at most 32 bits.
        """
        match = _FORMAT.fullmatch(text)
        if match is None:
            raise ValueError(f"not an LSN: {text!r} (expected HHHHHHHH/LLLLLLLL)")
        return cls((int(match[1], 16) << 32) | int(match[2], 16))

    def __str__(self) -> str:
        """PostgreSQL's notation.

        >>> str(Lsn(97500059720))
        '16/B374D848'
        """
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def bytes_behind(self, other: Lsn) -> int:
        """Bytes of WAL from this position to `other`; 0 when this one is at or past it."""
        return max(0, other.value - self.value)
