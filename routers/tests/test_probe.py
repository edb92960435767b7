import asyncio
import time

import pytest

from management.connection import conninfo
from management.credentials import monitor_login
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


class TestProbe:
    def test_a_primary(self, cluster):
        status = probe(cluster, "pg1", times=2)
        assert (status.role, status.timeline, status.receive_lsn) == (Role.PRIMARY, 1, None)

    def test_a_replica(self, cluster):
        status = probe(cluster, "pg2")
        assert (status.role, status.timeline, status.is_streaming) == (Role.REPLICA, 1, True)

    def test_all_nodes_share_the_system_identifier(self, cluster):
        assert len({probe(cluster, name).system_identifier for name in ("pg1", "pg2", "pg3")}) == 1

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
