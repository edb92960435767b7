"""A gunicorn worker whose wall clock is wrong: by the seconds in a file of its state directory, if there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import time_machine
from gunicorn.workers.sync import SyncWorker

from management.state import StateDirectory

FILE = "clock-offset-seconds"


class Worker(SyncWorker):
    """The server's own kind of worker otherwise."""

    def init_process(self) -> None:
        file = StateDirectory.from_environment().root / FILE
        if file.exists():
            offset = timedelta(seconds=float(file.read_text()))
            time_machine.travel(datetime.now(UTC) + offset, tick=True).start()
        super().init_process()
