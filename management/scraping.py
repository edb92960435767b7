"""The text of Prometheus's configuration for a local system: whom it asks, how often. Job names are a contract.

Dashboards and rules know the jobs `application`, `postgres` (label `node`), `host` and `prometheus`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Short experiments are to be seen: a failover takes about a second.
INTERVAL = "1s"


def prometheus_configuration(*, prometheus: int, application: int, host: int, nodes: Mapping[str, int]) -> str:
    """The configuration, as JSON, which is YAML.

    Args:
        prometheus: Its own port; all are on loopback.
        application: The port of the application.
        host: The port of the exporter of the machine.
        nodes: The port of each node's exporter, by the node's name.
    """
    jobs = {
        "prometheus": [_target(prometheus)],
        "application": [_target(application)],
        "host": [_target(host)],
        "postgres": [_target(port, node=name) for name, port in nodes.items()],
    }
    return json.dumps(
        {
            "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": ["rules/*.yml"],
            "scrape_configs": [{"job_name": name, "static_configs": targets} for name, targets in jobs.items()],
        },
        indent=2,
    )


def _target(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": labels}
