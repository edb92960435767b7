"""The text of PostgreSQL's configuration files for local nodes."""

from __future__ import annotations

from typing import Final

from psycopg.conninfo import make_conninfo

from management.credentials import REPLICATOR

POSTGRESQL_CONF: Final = """
# ── Highload ──────────────────────────────────────────────────────────────
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 100

# Replication. Each node may become the primary, so all have the same.
wal_level = replica
max_wal_senders = 10
max_replication_slots = 10
hot_standby = on
hot_standby_feedback = on           # long reads on a replica are not cancelled by VACUUM
wal_log_hints = on                  # pg_rewind
wal_keep_size = '256MB'             # a replica can follow another one after a promotion
max_slot_wal_keep_size = '4GB'      # a dead replica must not fill the primary's disk
wal_retrieve_retry_interval = '100ms'   # the default, 5 s, is how long a re-pointed replica may idle
wal_receiver_status_interval = '1s'
wal_sender_timeout = '10s'
wal_receiver_timeout = '10s'

# Sized for a laptop that runs all nodes.
shared_buffers = '128MB'
maintenance_work_mem = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
random_page_cost = 1.1

shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = 'top'
track_io_timing = on
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
# A refused INSERT would be logged with its values: e-mails, password hashes.
log_min_error_statement = panic
log_error_verbosity = terse
"""

PG_HBA_CONF: Final = f"""# Written by Highload: loopback only, and never without a password.
# TYPE  DATABASE     USER          ADDRESS        METHOD
host    replication  {REPLICATOR}    127.0.0.1/32   scram-sha-256
host    replication  all           127.0.0.1/32   reject
host    all          {REPLICATOR}    127.0.0.1/32   reject
host    all          all           127.0.0.1/32   scram-sha-256
"""


def primary_conninfo(*, host: str, port: int, user: str, passfile: str, name: str) -> str:
    """How a replica reaches its source. The password is in the pass file, because settings can be read."""
    return make_conninfo(host=host, port=port, user=user, passfile=passfile, application_name=name, connect_timeout=5)
