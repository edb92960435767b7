import psycopg
import pytest
from django.db.utils import InterfaceError, OperationalError, ProgrammingError

from routers.failures import is_node_failure


def error(sqlstate: str | None, kind=OperationalError) -> Exception:
    cause = psycopg.errors.lookup(sqlstate)() if sqlstate else psycopg.OperationalError("server closed the connection")
    result = kind("failed")
    result.__cause__ = cause
    return result


class TestIsNodeFailure:
    @pytest.mark.parametrize("sqlstate", ["08006", "08001", "57P01", "57P02", "57P03", None])
    def test_a_lost_node(self, sqlstate):
        assert is_node_failure(error(sqlstate))

    @pytest.mark.parametrize("sqlstate", ["57014", "40001", "53300", "55P03"])
    def test_not_a_failed_query(self, sqlstate):
        assert not is_node_failure(error(sqlstate))

    def test_a_closed_connection(self):
        assert is_node_failure(error(None, InterfaceError))

    def test_not_a_wrong_statement(self):
        assert not is_node_failure(error("42601", ProgrammingError))

    def test_not_an_error_of_the_program(self):
        assert not is_node_failure(ValueError("x"))
