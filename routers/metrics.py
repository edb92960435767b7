"""What routing tells Prometheus. Names and labels only; the values come from the other rooms."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge, Histogram

from routers.node import Condition, Topology

DECISIONS = Counter("routers_decisions_total", "Routing decisions by the alias chosen and why.", ["alias", "reason"])
PRIMARY_CHANGES = Counter("routers_primary_changes_total", "Times this process saw another primary, or none.")
STALE_CONNECTIONS = Counter(
    "routers_stale_connections_closed_total", "Connections closed because their node changed its role.", ["alias"]
)
OBSERVED = Counter(
    "routers_observed_total", "In the profile observe: decisions that were not followed.", ["alias", "reason"]
)
TOKENS = Counter("routers_tokens_total", "Consistency tokens that came or were given.", ["event"])
ANSWERS = Counter("routers_flagged_answers_total", "Answers that say they may be stale or miss a write.", ["status"])
FAILOVERS = Counter("routers_failovers_total", "Reads run on another node after one failed them.", ["alias", "failure"])
EJECTIONS = Counter("routers_ejections_total", "Nodes ejected because a query on them failed.", ["alias"])
WAIT_SECONDS = Histogram(
    "routers_wait_seconds",
    "Time a read waited for a replica to catch up with its client.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
SHED = Counter("routers_reads_shed_total", "Reads refused because the primary's budget for them was spent.")
WRITES_REFUSED = Counter("routers_primary_unavailable_total", "Requests answered 503 because no primary was known.")
PROBE_SECONDS = Histogram(
    "routers_probe_seconds",
    "Duration of one probe of one node.",
    ["alias"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
NODE_GOOD = Gauge(
    "routers_node_good", "1 if the node may serve, else 0.", ["alias"], multiprocess_mode="livemostrecent"
)
IS_PRIMARY = Gauge("routers_node_is_primary", "1 for the primary.", ["alias"], multiprocess_mode="livemostrecent")
LAG_BYTES = Gauge("routers_replica_lag_bytes", "WAL not yet replayed.", ["alias"], multiprocess_mode="livemostrecent")
LAG_SECONDS = Gauge(
    "routers_replica_lag_seconds", "Age of the WAL not yet replayed.", ["alias"], multiprocess_mode="livemostrecent"
)
TIMELINE = Gauge("routers_timeline", "Highest timeline the cluster has shown.", multiprocess_mode="livemax")


def show_topology(topology: Topology) -> None:
    """Set the gauges of every node."""
    TIMELINE.set(topology.timeline)
    for node in topology.nodes.values():
        NODE_GOOD.labels(node.alias).set(node.condition is Condition.GOOD)
        IS_PRIMARY.labels(node.alias).set(node.alias == topology.primary)
        # An unknown lag is no number: the last known one would look like health.
        LAG_BYTES.labels(node.alias).set(math.nan if node.lag_bytes is None else node.lag_bytes)
        LAG_SECONDS.labels(node.alias).set(math.nan if node.lag_seconds is None else node.lag_seconds)
