"""Tells the failure of a node from the failure of a query, by SQLSTATE."""

from __future__ import annotations

from typing import Final

from django.db.utils import InterfaceError, OperationalError

# PostgreSQL docs, Appendix A, Error Codes: class 08 (connection exception) and the 57P codes with
# which a server ends its sessions (admin shutdown, crash shutdown, cannot connect now).
_NODE_GONE_CLASS: Final = "08"
_NODE_GONE: Final = frozenset({"57P01", "57P02", "57P03"})


def is_node_failure(error: BaseException) -> bool:
    """Whether the error says that the node, not the query, failed.

    An OperationalError without SQLSTATE never reached the server or lost it.
    """
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate is None or sqlstate.startswith(_NODE_GONE_CLASS) or sqlstate in _NODE_GONE
