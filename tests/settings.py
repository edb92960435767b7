"""Settings of the test suite: those of the system, on a cluster of its own that `conftest.py` starts."""

import os
import tempfile
from pathlib import Path

from management.credentials import generate_secret, write_secret_file
from management.local_secrets import OF_ONE_CLUSTER
from management.state import StateDirectory
from tests.ports import free_ports
from tests.run import run_directory

NODE_COUNT = 3

# Another cluster's, of the developer or of the process that started this one, would win over the file.
for variable in OF_ONE_CLUSTER:
    os.environ.pop(variable, None)
# One for each process that runs tests.
STATE = StateDirectory(Path(tempfile.mkdtemp(prefix="suite-", dir=run_directory())))
STATE.root.chmod(0o755)
BASE_PORT = free_ports(NODE_COUNT)
write_secret_file(
    STATE.application_env,
    {
        "HIGHLOAD_SECRET_KEY": generate_secret() * 2,
        "HIGHLOAD_DB_PASSWORD": generate_secret(),
        "HIGHLOAD_DB_USER": "highload",
        "HIGHLOAD_DB_NAME": "highload",
        "HIGHLOAD_MONITOR_PASSWORD": generate_secret(),
        "HIGHLOAD_MONITOR_USER": "highload_monitor",
        "HIGHLOAD_NODES": ",".join(f"pg{n + 1}=127.0.0.1:{BASE_PORT + n}" for n in range(NODE_COUNT)),
    },
    heading="tests",
)
os.environ["HIGHLOAD_STATE"] = str(STATE.root)
# One hash costs 20 ms at OWASP's parameters; the suite makes hundreds. One test checks the real ones.
os.environ.setdefault("HIGHLOAD_ARGON2_MEMORY_KIB", "8")
os.environ.setdefault("HIGHLOAD_ARGON2_TIME_COST", "1")
os.environ.setdefault("HIGHLOAD_THROTTLING", "false")

from highload.settings import *  # noqa: E402, F403 - the environment first
