"""How operations tell what they are doing: one line at a time, to whoever listens."""

from collections.abc import Callable

Say = Callable[[str], None]
