"""Read/write routing over PostgreSQL nodes: which node serves this query.

The names below are what application code uses; everything else is reached through settings
(`DATABASE_ROUTERS`, `MIDDLEWARE`, the database engine `routers.backend`).
"""

from routers.request_state import primary, reading_from_replica

__all__ = ["primary", "reading_from_replica"]
