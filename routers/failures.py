"""What to do about a statement that failed, by SQLSTATE: one table for the whole data path. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from django.db.utils import Error, InterfaceError, OperationalError


class Failure(Enum):
    """What a failed statement says."""

    OF_NODE = auto()
    """The node is gone: eject it, run a read elsewhere."""
    OF_MOMENT = auto()
    """The node lives, but not for this statement now: run a read elsewhere, not on the same node."""
    READ_ONLY = auto()
    """A write where none is accepted."""
    OF_STATEMENT = auto()
    """It would fail anywhere."""


# PostgreSQL docs, Appendix A, PostgreSQL Error Codes.
_BY_SQLSTATE: Final = {
    "25006": Failure.READ_ONLY,  # read_only_sql_transaction; Django raises InternalError
    "40001": Failure.OF_MOMENT,  # serialization_failure: on a replica, conflict with recovery
    "40P01": Failure.OF_MOMENT,  # deadlock_detected: on a replica, also with recovery
    "57P01": Failure.OF_NODE,  # admin_shutdown
    "57P02": Failure.OF_NODE,  # crash_shutdown
    "57P03": Failure.OF_NODE,  # cannot_connect_now
    "57P05": Failure.OF_MOMENT,  # idle_session_timeout
}
_BY_CLASS: Final = {
    "08": Failure.OF_NODE,  # connection_exception
    "53": Failure.OF_MOMENT,  # insufficient_resources: too many connections, out of memory
}


def classify(error: BaseException) -> Failure:
    """What a Django database error says about the node it came from.

    An OperationalError without SQLSTATE never reached the server or lost it.
    """
    if not isinstance(error, Error):
        return Failure.OF_STATEMENT
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    if sqlstate is None:
        return Failure.OF_NODE if isinstance(error, OperationalError | InterfaceError) else Failure.OF_STATEMENT
    return _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], Failure.OF_STATEMENT)


def is_node_failure(error: BaseException) -> bool:
    """Whether the error says that the node, not the query, failed."""
    return classify(error) is Failure.OF_NODE
