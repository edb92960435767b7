"""Writes the nodes' configuration for docker-compose.yml, from the text that local nodes get."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from management.configuration import PG_HBA_CONF, POSTGRESQL_CONF
from management.state import PROJECT_DIR

DIRECTORY: Final = PROJECT_DIR / "deploy" / "compose"
_COMMAND: Final = "python -m deploy.compose_files"
# In a container the other nodes come over its network, which is not the machine's.
_DIFFERENCES: Final = {
    "listen_addresses = '127.0.0.1'": "listen_addresses = '*'",
    "loopback only": "the nodes' own network only",
    "127.0.0.1/32": "samenet     ",
}


def node_files() -> dict[Path, str]:
    """The files and what they hold."""
    return {
        DIRECTORY / "postgresql.conf": _adapted(
            f"# Written by `{_COMMAND}`; management/configuration.py has the text.\n{POSTGRESQL_CONF}"
        ),
        DIRECTORY / "pg_hba.conf": _adapted(PG_HBA_CONF),
    }


def _adapted(text: str) -> str:
    for local, contained in _DIFFERENCES.items():
        text = text.replace(local, contained)
    return text


if __name__ == "__main__":
    for path, text in node_files().items():
        path.write_text(text)
