"""gunicorn's configuration. Addresses, sizes and files come from the environment."""

import os
import shutil
from pathlib import Path
from typing import Any

_state = Path(os.environ["HIGHLOAD_STATE"])
_metrics = _state / "run" / "metrics"
# The workers share their counters through files. Set before anything imports prometheus_client.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)
_metrics.mkdir(parents=True, exist_ok=True)

bind = f"{os.environ.get('HIGHLOAD_HTTP_HOST', '127.0.0.1')}:{os.environ.get('HIGHLOAD_HTTP_PORT', '8000')}"
# sync workers: threads of one worker fight for the interpreter lock, which made latency swing by a factor of two.
worker_class = "sync"
# A worker, also one that replaces another, is a fork of what is loaded once: ready in milliseconds, in shared memory.
# So SIGHUP brings no new code and no new settings: stop the server and start it again, as start-all does.
preload_app = True
# Each worker holds up to one connection to every node for itself and one for its prober.
workers = int(os.environ.get("HIGHLOAD_WEB_WORKERS") or min(16, 2 * len(os.sched_getaffinity(0))))
timeout = 30
graceful_timeout = 10
max_requests = 100_000
max_requests_jitter = 10_000
accesslog = str(_state / "log" / "access.log") if os.environ.get("HIGHLOAD_ACCESS_LOG") else None
errorlog = str(_state / "log" / "gunicorn.log")
capture_output = True
# Its default place is one for all systems of a user.
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """Forget the counters of an earlier run: their processes are gone."""
    shutil.rmtree(_metrics, ignore_errors=True)
    _metrics.mkdir(parents=True)


def child_exit(_server: Any, worker: Any) -> None:
    """Take a dead worker's gauges out of the sums."""
    # Imported after the environment is set.
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
