import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest

from management.connection import conninfo
from management.credentials import monitor_login
from management.processes import wait_until
from routers.lsn import Lsn
from routers.node import NodeStatus, Role
from routers.probe import ProbeFailed, Prober

pytestmark = pytest.mark.replication


def probe(cluster, name: str, *, times: int = 1, **changes) -> NodeStatus:
    async def ask() -> NodeStatus:
        parameters = {**conninfo(cluster.record.node(name), monitor_login(cluster.state)), **changes}
        prober = Prober(parameters, timeout_seconds=0.5)
        try:
            for _ in range(times):
                status = await prober.probe()
            return status
        finally:
            await prober.close()

    return asyncio.run(ask())


@pytest.fixture
def sql_ascii_database(cluster) -> Iterator[str]:
    with cluster.superuser("pg1") as connection:
        connection.execute(
            "CREATE DATABASE sql_ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        wait_until_replayed(cluster, connection)
        yield "sql_ascii"
        connection.execute("DROP DATABASE sql_ascii WITH (FORCE)")


def wait_until_replayed(cluster, connection) -> None:
    (written,) = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    for name in ("pg2", "pg3"):
        assert wait_until(lambda name=name: probe(cluster, name).lsn >= Lsn.parse(written), timeout_seconds=10)


class TestProbe:
    def test_a_primary(self, cluster):
        status = probe(cluster, "pg1", times=2)
        assert (status.role, status.timeline, status.receive_lsn) == (Role.PRIMARY, 1, None)

    def test_a_replica(self, cluster):
        status = probe(cluster, "pg2")
        assert (status.role, status.timeline, status.is_streaming) == (Role.REPLICA, 1, True)

    def test_all_nodes_share_the_system_identifier(self, cluster):
        assert len({probe(cluster, name).system_identifier for name in ("pg1", "pg2", "pg3")}) == 1

    def test_a_database_in_sql_ascii(self, cluster, sql_ascii_database):
        direct = {"dbname": sql_ascii_database, "client_encoding": None}
        assert probe(cluster, "pg1", **direct).lsn.value > 0
        assert probe(cluster, "pg2", **direct).is_streaming

    def test_a_port_where_nobody_listens(self, cluster):
        with pytest.raises(ProbeFailed, match="refused"):
            probe(cluster, "pg1", port=1)

    def test_a_wrong_password(self, cluster):
        with pytest.raises(ProbeFailed, match="password authentication failed"):
            probe(cluster, "pg1", password="wrong")

    def test_a_frozen_node_costs_the_timeout_and_no_more(self, cluster):
        with cluster.frozen("pg3"), pytest.raises(ProbeFailed, match=r"no answer within 0\.5 s"):
            probe(cluster, "pg3")

    def test_a_node_that_freezes_between_two_probes(self, cluster):
        async def ask() -> float:
            prober = Prober(conninfo(cluster.record.node("pg3"), monitor_login(cluster.state)), timeout_seconds=0.3)
            await prober.probe()
            with cluster.frozen("pg3"):
                started_at = time.monotonic()
                with pytest.raises(ProbeFailed):
                    await prober.probe()
                elapsed = time.monotonic() - started_at
            # It has let go of the dead connection, and the next probe opens another.
            await prober.probe()
            await prober.close()
            return elapsed

        # Many times the timeout: only a hang is a failure here.
        assert asyncio.run(ask()) < 60


class TestOperatorsConnection:
    def test_reads_text_of_a_database_in_sql_ascii(self, cluster, sql_ascii_database):
        login = monitor_login(cluster.state)
        with psycopg.connect(**conninfo(cluster.record.node("pg1"), login, dbname=sql_ascii_database)) as connection:
            assert connection.execute("SELECT 'pg'::text").fetchone() == ("pg",)
