"""Brings a copied system up as deploy/start-all does, but for the steps that the copy has behind it.

    python -m tests.serving HTTP_PORT PROFILE [SYNC]

In a process of its own: set-up and the web server take the environment for their system's.
"""

from __future__ import annotations

import sys

from management.local_plan import LocalSetup
from management.server import ServerOptions, configuration_digest, ensure_server
from management.setup import setup_local
from management.state import StateDirectory
from management.synchronous import SyncMode
from tests.golden import silent

if __name__ == "__main__":
    port, profile, *sync = sys.argv[1:]
    state = StateDirectory.from_environment()
    setup_local(LocalSetup(sync=SyncMode(sync[0]) if sync else None), state, say=silent)
    ensure_server(ServerOptions(int(port), profile, configuration_digest(state)), state)
