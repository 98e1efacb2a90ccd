"""The stores of a process, as its settings name them."""

from typing import TYPE_CHECKING

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.settings import Settings

if TYPE_CHECKING:
    from fauxchange.data.postgres.connections import PostgresConfig
    from fauxchange.data.redis.server import RedisConfig

DATABASE = "fauxchange.sqlite"


async def open_stores(
    settings: Settings, *, metrics: MetricsPort | None = None, own_processes: bool = False
) -> DataAdapter:
    """Return the connected adapter over the stores that the settings name; a server that is away is waited for.

    `own_processes` is what `open_data_adapter` says.

    Raises: ConfigurationError, Unavailable
    """
    return await open_data_adapter(
        settings.data_dir / DATABASE if settings.store == "sqlite" else None,
        postgres=postgres_config(settings),
        redis=redis_config(settings),
        metrics=metrics,
        cache_namespace=settings.cache_namespace,
        cache_ttl_s=settings.cache_ttl_ns / NS_PER_S,
        service_ttl_s=settings.service_ttl_ns / NS_PER_S,
        discovery_namespace=settings.service_discovery_namespace,
        own_processes=own_processes,
    )


def postgres_config(settings: Settings) -> "PostgresConfig | None":
    """Return how PostgreSQL is used, None if it is not."""
    if settings.postgres_url is None:
        return None
    # The driver takes long to load, and few starts need it.
    from fauxchange.data.postgres.connections import PostgresConfig  # noqa: PLC0415 - see above

    return PostgresConfig(
        url=settings.postgres_url.get_secret_value(),
        max_connections=settings.max_connections,
        max_idle_connections=settings.max_idle_connections,
        connection_max_lifetime_s=settings.connection_max_lifetime_ns / NS_PER_S,
        application_name=settings.service_name,
    )


def redis_config(settings: Settings) -> "RedisConfig | None":
    """Return how Redis is used, None if it is not."""
    if settings.redis_url is None:
        return None
    from fauxchange.data.redis.server import RedisConfig  # noqa: PLC0415 - as above

    return RedisConfig(
        url=settings.redis_url.get_secret_value(),
        pool_size=settings.redis_pool_size,
        min_idle=settings.redis_min_idle_conns,
    )
