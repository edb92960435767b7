"""What each database role may do, asked of the database."""

import psycopg
import pytest

from management.connection import conninfo
from management.credentials import Login, operator_credentials, read_env_file

pytestmark = pytest.mark.replication


@pytest.fixture
def session(cluster):
    """Connections as one of the roles."""
    opened = []
    values = read_env_file(cluster.state.application_env)
    logins = {
        "application": Login(values["HIGHLOAD_DB_USER"], values["HIGHLOAD_DB_PASSWORD"]),
        "monitor": Login(values["HIGHLOAD_MONITOR_USER"], values["HIGHLOAD_MONITOR_PASSWORD"]),
        "replicator": operator_credentials(cluster.state).replicator,
    }

    def connect(role: str, *, dbname: str = "highload", **changes):
        parameters = {**conninfo(cluster.record.node("pg1"), logins[role], dbname=dbname), **changes}
        connection = psycopg.connect(**parameters, autocommit=True)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def refused(connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


class TestRoles:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE ROLE x",
            "ALTER ROLE highload SUPERUSER",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "SELECT pg_read_file('postgresql.conf')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_create_physical_replication_slot('x')",
            "SELECT pg_promote()",
            "SELECT * FROM pg_authid",
        ],
    )
    def test_the_application_is_no_operator(self, session, statement):
        assert refused(session("application"), statement)

    @pytest.mark.parametrize("statement", ["CREATE TABLE x (y int)", "CREATE SCHEMA x", "CREATE TEMP TABLE x (y int)"])
    def test_the_monitor_creates_nothing(self, session, statement):
        assert refused(session("monitor"), statement)

    def test_the_monitor_sees_the_wal_receivers(self, session):
        rows = session("monitor", dbname="postgres").execute("SELECT state FROM pg_stat_replication").fetchall()
        assert rows == [("streaming",)] * 2

    @pytest.mark.parametrize("dbname", ["highload", "postgres"])
    def test_the_replicator_reads_no_database(self, session, dbname):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
            session("replicator", dbname=dbname)

    @pytest.mark.parametrize("role", ["application", "monitor"])
    def test_only_the_replicator_replicates(self, session, role):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
            session(role, replication="true")

    def test_nobody_enters_without_a_password(self, session):
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            session("application", password=None)

    def test_passwords_are_stored_as_scram_verifiers(self, cluster):
        with cluster.superuser("pg1") as connection:
            stored = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
        assert len(stored) == 4
        assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in stored)
