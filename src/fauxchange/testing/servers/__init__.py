"""Real PostgreSQL and Redis for tests, to be frozen, killed, slowed down and restarted, and always cleared away."""

from fauxchange.testing.servers.errors import SKIP_MISSING, ServerFailed, ServerMissing
from fauxchange.testing.servers.postgres import Database, PostgresServer, start_postgres, use_postgres
from fauxchange.testing.servers.proxy import TcpProxy
from fauxchange.testing.servers.redis import RedisServer, start_redis, use_redis

__all__ = [
    "SKIP_MISSING",
    "Database",
    "PostgresServer",
    "RedisServer",
    "ServerFailed",
    "ServerMissing",
    "TcpProxy",
    "start_postgres",
    "start_redis",
    "use_postgres",
    "use_redis",
]
