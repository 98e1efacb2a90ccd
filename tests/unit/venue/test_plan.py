"""What a process is started from is checked before anything starts."""

from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.settings import load_settings
from fauxchange.venue.plan import prepare


def test_price_streams_without_a_redis_are_refused_with_what_to_set() -> None:
    settings = load_settings({"PRICES_FROM": "redis"}, environ={})

    with pytest.raises(ConfigurationError, match="set REDIS_URL as market-data has it") as refused:
        prepare(settings, services=("exchange",))

    assert refused.value.field == "PRICES_FROM"


def test_a_recorded_book_is_refused_by_an_exchange_apart_from_its_feed(tmp_path: Path) -> None:
    path = tmp_path / "btc_usdt_l2.jsonl"
    path.write_text('1 {"lastUpdateId": 1, "bids": [["9", "1"]], "asks": [["10", "1"]]}\n')
    settings = load_settings({"REPLAY": str(path)}, environ={})

    with pytest.raises(ConfigurationError, match="run both in one process with `fauxchange up`") as refused:
        prepare(settings, services=("exchange",))

    assert refused.value.field == "REPLAY"
