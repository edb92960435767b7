"""A pytest plugin for projects that use this router, to see what they do when a node lags or dies.

`pytest_plugins = ["routers.testing"]` in conftest.py, and an own `node_admin`: docs/howto/test-your-application.md.
Everything acts on a real cluster. Production never imports this.
"""

from routers.testing.fixtures import node_admin, node_killed, promoted, replica_frozen, replicas_caught_up, served_by
from routers.testing.postmaster import NodeError
from routers.testing.served import Queries, Query, queries_by_node

__all__ = ["NodeError", "Queries", "Query", "queries_by_node"]
__all__ += ["node_admin", "node_killed", "promoted", "replica_frozen", "replicas_caught_up", "served_by"]
