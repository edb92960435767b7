"""Moves the wall clock of a forked server worker: by the seconds in a file of its state directory, if there."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path


def _move_clock() -> None:
    try:
        offset_seconds = float((Path(os.environ["HIGHLOAD_STATE"]) / "clock-offset-seconds").read_text())
    except (KeyError, FileNotFoundError):
        return
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset_seconds), tick=True).start()


os.register_at_fork(after_in_child=_move_clock)
