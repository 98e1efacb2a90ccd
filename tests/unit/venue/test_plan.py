"""What a process is started from is checked before anything starts."""

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings import load_settings
from fauxchange.venue.plan import prepare


def test_price_streams_without_a_redis_are_refused_with_what_to_set() -> None:
    settings = load_settings({"PRICES_FROM": "redis"}, environ={})

    with pytest.raises(ConfigurationError, match="set REDIS_URL as market-data has it") as refused:
        prepare(settings, services=("exchange",))

    assert refused.value.field == "PRICES_FROM"
