"""What a stopped node says of itself: the control file, as `pg_controldata` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from management.errors import OperationError
from management.host import Host
from routers.lsn import Lsn


@dataclass(frozen=True, slots=True)
class ControlData:
    """Of one data directory. Of a node that runs it is as old as the last checkpoint."""

    system_identifier: int
    state: str
    """As PostgreSQL words it: `shut down`, `in production`, `shut down in recovery`, …"""
    timeline: int
    checkpoint_lsn: Lsn
    """Where the record of the last checkpoint begins."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing has to be recovered before the files can be compared."""
        return self.state in {"shut down", "shut down in recovery"}

    @property
    def was_primary(self) -> bool:
        """Whether it accepted writes when it last ran, and may so have what nobody else has."""
        return self.state in {"shut down", "shutting down", "in production", "in crash recovery"}


def read_control_data(data_dir: Path, host: Host) -> ControlData:
    """Read it. Runs `pg_controldata` on this machine.

    Raises:
        OperationError: It is no data directory, or the control file is damaged.
    """
    shown = host.run("pg_controldata", f"--pgdata={data_dir}")
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in shown.splitlines())}
    try:
        return ControlData(
            system_identifier=int(values["Database system identifier"]),
            state=values["Database cluster state"],
            timeline=int(values["Latest checkpoint's TimeLineID"]),
            checkpoint_lsn=Lsn.parse(values["Latest checkpoint location"]),
        )
    except (KeyError, ValueError) as error:
        raise OperationError(f"pg_controldata does not say what is needed of {data_dir}: {error!r}") from error
