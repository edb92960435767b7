"""The database engine `routers.backend`: Django's PostgreSQL, bound to the nodes' roles."""
