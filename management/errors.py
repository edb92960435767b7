"""The errors of the control path. Each carries the exit code that tells what has happened."""

from __future__ import annotations

from management.exit_codes import ExitCode


class OperationError(Exception):
    """Base of what this app raises. The message says what, which node, and what to do.

    A step that fails leaves what was done before it: only `Refused` promises that nothing was changed.
    """

    exit_code = ExitCode.INCOMPLETE


class Refused(OperationError):
    """Something makes the operation unsafe or impossible. Nothing was changed."""

    exit_code = ExitCode.REFUSED


class Incomplete(OperationError):
    """Something was changed, and the rest did not succeed. The message says what to run next."""


class Unknown(OperationError):
    """The facts could not be found out."""

    exit_code = ExitCode.UNKNOWN
