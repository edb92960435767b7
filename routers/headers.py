"""The headers in which a client and the application exchange what consistency needs. Names only."""

from __future__ import annotations

from typing import Final

TOKEN_HEADER: Final = "Consistency-Token"  # noqa: S105 - a name
STATUS_HEADER: Final = "Consistency-Status"
