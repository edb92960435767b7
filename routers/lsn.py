"""The log sequence number: a 64-bit position in the WAL, comparable within one timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


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
        high, slash, low = text.partition("/")
        if not slash or not 1 <= len(high) <= 8 or not 1 <= len(low) <= 8:  # noqa: PLR2004 - 32 bits in hex
            raise ValueError(f"not an LSN: {text!r} (expected HHHHHHHH/LLLLLLLL)")
        return cls((int(high, 16) << 32) | int(low, 16))

    def __str__(self) -> str:
        """PostgreSQL's notation.

        >>> str(Lsn(97500059720))
        '16/B374D848'
        """
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def bytes_behind(self, other: Lsn) -> int:
        """Bytes of WAL from this position to `other`; 0 when this one is at or past it."""
        return max(0, other.value - self.value)
