"""Whether Patroni runs a cluster. Commands that change roles then refuse: two masters of one house fight."""

from __future__ import annotations

from typing import Final

import psycopg

from management.connection import connect
from management.credentials import Login
from management.errors import Refused
from management.survey import Survey

# Patroni docs: its connections call themselves so, and it keeps its configuration in the data directory.
IS_MANAGED: Final = """
(EXISTS (SELECT 1 FROM pg_stat_activity WHERE starts_with(application_name, 'Patroni'))
 OR (pg_stat_file('patroni.dynamic.json', true)).size IS NOT NULL)
"""
"""An SQL expression, for a superuser: whether Patroni runs this node."""


def require_no_patroni(survey: Survey, login: Login) -> None:
    """Do nothing if no node that answers is run by Patroni. Asks each of them.

    Raises:
        Refused: One is.
    """
    for name, found in survey.nodes.items():
        if found.status is None:
            continue
        try:
            with connect(found.node, login) as connection:
                row = connection.execute(f"SELECT {IS_MANAGED}".encode()).fetchone()
        except psycopg.Error:
            continue  # It answered a moment ago; what comes next will say what is the matter.
        if row == (True,):
            raise Refused(
                f"{name} is run by Patroni, which would undo what this command does. Working through Patroni is not "
                "supported yet: use `patronictl switchover`, `patronictl failover` or `patronictl reinit` there."
            )
