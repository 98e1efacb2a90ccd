import pytest

from fauxchange.data.redis.server import RedisConfig, RedisServer, describe
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.platform.ports import DependencyStatus


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://user:secret@cache.example:6380/2", "cache.example:6380/2"),
        ("rediss://cache.example", "cache.example:6379/0"),
        ("unix:///run/redis.sock?password=secret", "/run/redis.sock"),
    ],
)
def test_server_is_named_without_its_secrets(url: str, wanted: str) -> None:
    assert describe(url) == wanted


async def test_server_that_is_not_connected_refuses_calls_and_is_down() -> None:
    server = RedisServer(RedisConfig(url="redis://127.0.0.1:1/0"))

    with pytest.raises(Unavailable) as away:
        await server.call("PING")

    assert away.value.retryable
    assert server.health().status is DependencyStatus.DOWN


async def test_url_that_the_driver_cannot_read_says_how_it_is_written() -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisServer(RedisConfig(url="redis://user:secret@host:6379/0?health_check_interval=often"))

    assert "secret" not in refused.value.message
