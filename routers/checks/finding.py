"""A finding of a check: the letter of its id says how grave it is."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name


def finding(code: str, message: str, *, hint: str) -> CheckMessage:
    """An error for `routers.E…`: something will not work. A warning for `routers.W…`: it may surprise."""
    level = Error if code.startswith("routers.E") else Warning
    return level(message, hint=hint, id=code)
