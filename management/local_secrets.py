"""The two secret files of a local cluster: one for the serving process, one for operators."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from management.credentials import (
    ADMIN_EMAIL,
    MONITOR,
    REPLICATOR,
    SUPERUSER,
    generate_secret,
    read_env_file,
    write_secret_file,
)
from management.errors import Refused
from management.record import ClusterRecord
from management.state import StateDirectory

DATABASE: Final = "highload"
APPLICATION: Final = "highload"
OF_ONE_CLUSTER: Final = frozenset(
    {f"HIGHLOAD_{role}_{part}" for role in ("OPERATOR", "REPLICATOR", "DB", "MONITOR") for part in ("USER", "PASSWORD")}
    | {f"HIGHLOAD_{name}" for name in ("SEED_PASSWORD", "ADMIN_EMAIL", "ADMIN_PASSWORD", "SECRET_KEY", "DB_NAME")}
    | {f"HIGHLOAD_{name}" for name in ("MONITOR_DB_NAME", "NODES", "SYSTEM_IDENTIFIER", "HISTORY_FILE")}
)
"""Variables that say which cluster is meant, or let one in. Django's settings put a file's into the environment."""


def ensure_secrets(record: ClusterRecord, state: StateDirectory) -> None:
    """Generate what is missing, keep what is there, and write the nodes' addresses.

    Raises:
        Refused: A file is missing although the nodes exist: new secrets would lock everybody out.
    """
    has_data = any(Path(str(node.data_dir)).exists() for node in record.nodes)
    for file in (state.operator_env, state.application_env):
        if has_data and not file.exists():
            raise Refused(f"{file} is missing, but the nodes' data exists. Restore the file from a backup.")
    operator = {
        "HIGHLOAD_OPERATOR_USER": SUPERUSER,
        "HIGHLOAD_OPERATOR_PASSWORD": generate_secret(),
        "HIGHLOAD_REPLICATOR_USER": REPLICATOR,
        "HIGHLOAD_REPLICATOR_PASSWORD": generate_secret(),
        "HIGHLOAD_SEED_PASSWORD": generate_secret(),
        "HIGHLOAD_ADMIN_EMAIL": ADMIN_EMAIL,
        "HIGHLOAD_ADMIN_PASSWORD": generate_secret(),
    }
    write_secret_file(
        state.operator_env,
        {**operator, **read_env_file(state.operator_env)},
        heading="Operator's credentials, and the passwords of the seeded users and of the admin. Keep private.",
    )
    application = {
        "HIGHLOAD_SECRET_KEY": generate_secret() + generate_secret(),
        "HIGHLOAD_DB_NAME": DATABASE,
        "HIGHLOAD_DB_USER": APPLICATION,
        "HIGHLOAD_DB_PASSWORD": generate_secret(),
        "HIGHLOAD_MONITOR_USER": MONITOR,
        "HIGHLOAD_MONITOR_PASSWORD": generate_secret(),
    }
    identity = {"HIGHLOAD_SYSTEM_IDENTIFIER": str(record.system_identifier)} if record.system_identifier else {}
    nodes = ",".join(f"{node.name}={node.host}:{node.port}" for node in record.nodes)
    write_secret_file(
        state.application_env,
        {**application, **read_env_file(state.application_env), "HIGHLOAD_NODES": nodes, **identity},
        heading="The application's settings, read at start. A real environment variable wins. Keep private.",
    )
