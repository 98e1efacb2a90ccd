"""Market data's prices from another process, as the exchange hears them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from structlog.testing import capture_logs

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.domain.instruments import Instrument
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus
from fauxchange.services.exchange.clients.market_prices import RemotePrices
from fauxchange.services.exchange.ports import FeedPrice

BTC, ETH = "BTC/USD", "ETH/USD"
FEEDS = {
    symbol: Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.001")) for symbol in (BTC, ETH)
}
EPOCH = 7


class FakeMarketData:
    """What a client of market data sees of it: its symbols, and what it streams until it breaks."""

    def __init__(self) -> None:
        self.symbols = {BTC: "0.01", ETH: "0.01"}
        self.requests: list[Any] = []
        self.streamed: asyncio.Queue[Any] = asyncio.Queue()
        self.failure: FauxchangeError | None = None

    async def call(self, method: str, request: Any) -> Any:
        assert method == "ListSymbols"
        if self.failure is not None:
            raise self.failure
        return pb.ListSymbolsResponse(
            symbols=[pb.Symbol(symbol=symbol, tick_size=tick_size) for symbol, tick_size in self.symbols.items()]
        )

    async def stream(self, method: str, request: Any, *, idle_timeout_s: float) -> AsyncGenerator[Any, None]:
        assert (method, idle_timeout_s) == ("StreamPrices", 10.0)
        self.requests.append(request)
        while (message := await self.streamed.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    def asked(self) -> list[dict[str, tuple[int, int] | None]]:
        """Return, for each stream, from which epoch and number on each symbol was asked for."""
        return [
            {
                each.symbol: (each.epoch, each.from_sequence) if each.HasField("from_sequence") else None
                for each in request.subscriptions
            }
            for request in self.requests
        ]


def update(
    sequence: int,
    bid: str = "100.00",
    *,
    symbol: str = BTC,
    first: int | None = None,
    epoch: int = EPOCH,
    kind: int = 2,
) -> Any:
    price = pb.Price(symbol=symbol, bid=bid, ask="101.00", sequence=sequence)
    price.timestamp.FromNanoseconds(sequence * 1_000)
    return pb.PriceUpdate(
        epoch=epoch, first_sequence=first or sequence, sequence=sequence, type=pb.MessageType.Name(kind), price=price
    )


def batch(*updates: Any) -> Any:
    return pb.PriceBatch(updates=updates)


class Following:
    """The prices that are followed, and what was heard of them."""

    def __init__(self, market_data: FakeMarketData, prices: RemotePrices, metrics: PrometheusMetrics) -> None:
        self.market_data = market_data
        self.prices = prices
        self.heard: list[Sequence[FeedPrice]] = []
        self._metrics = metrics
        prices.subscribe(self.heard.append)

    async def until_heard(self, count: int) -> None:
        await self.until(lambda: len(self.heard) >= count)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what a task has done by now is looked at, nobody tells of it
                await asyncio.sleep(0)

    def shown(self, name: str) -> float:
        lines = self._metrics.expose()[0].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


@asynccontextmanager
async def following(market_data: FakeMarketData | None = None) -> AsyncIterator[Following]:
    market_data = market_data or FakeMarketData()
    metrics = PrometheusMetrics("test", "i-1", "1")
    prices = RemotePrices(
        market_data,  # type: ignore[arg-type]  # all that is used of a client
        FEEDS,
        spawn=lambda coroutine, name: asyncio.get_running_loop().create_task(coroutine, name=name),
        chance=lambda: 0.0,
        metrics=metrics,
        idle_timeout_s=10.0,
    )
    await prices.start()
    try:
        yield Following(market_data, prices, metrics)
    finally:
        await prices.stop()


async def test_prices_are_heard_in_ticks_with_their_time_and_the_newest_of_each_symbol_counts() -> None:
    async with following() as f:
        assert f.prices.latest(BTC) is None
        f.market_data.streamed.put_nowait(batch(update(1, kind=1), update(2, "100.05"), update(1, symbol=ETH)))
        await f.until_heard(1)

        assert f.heard == [[FeedPrice(BTC, 2_000, 10_005, 10_100), FeedPrice(ETH, 1_000, 10_000, 10_100)]]
        assert f.prices.latest(BTC) == FeedPrice(BTC, 2_000, 10_005, 10_100)
        assert f.prices.health().status is DependencyStatus.OK
        assert f.shown("exchange_price_stream_up") == 1
        assert f.market_data.asked() == [{BTC: None, ETH: None}]


async def test_a_stream_that_breaks_goes_on_after_the_last_number() -> None:
    async with following() as f:
        f.market_data.streamed.put_nowait(batch(update(5, kind=1), update(6)))
        await f.until_heard(1)

        with capture_logs() as logs:
            f.market_data.streamed.put_nowait(Unavailable("it has gone"))
            await f.until(lambda: len(f.market_data.requests) == 2)
            told = f.prices.health()
            f.market_data.streamed.put_nowait(batch(update(7, "100.10")))
            await f.until_heard(2)

        assert f.market_data.asked()[1] == {BTC: (EPOCH, 7), ETH: None}
        assert (told.status, told.detail) == (
            DependencyStatus.DEGRADED,
            "no stream of prices from market-data: it has gone",
        )
        assert f.prices.health().status is DependencyStatus.OK
        assert [entry["event"] for entry in logs] == ["price_stream_lost", "price_stream_back"]
        assert f.shown("exchange_price_stream_breaks_total") == 1
        assert f.shown("exchange_prices_missed_total") == 0


async def test_what_a_stream_leaves_out_is_asked_for_again() -> None:
    async with following() as f:
        f.market_data.streamed.put_nowait(batch(update(5, kind=1), update(8, "100.10")))
        await f.until(lambda: len(f.market_data.requests) == 2)
        f.market_data.streamed.put_nowait(batch(update(8, "100.10", first=6)))
        await f.until_heard(2)

        assert f.market_data.asked()[1] == {BTC: (EPOCH, 6), ETH: None}
        assert [prices[0].bid_ticks for prices in f.heard] == [10_000, 10_010]


async def test_a_snapshot_stands_for_what_is_kept_no_more_and_that_is_counted() -> None:
    async with following() as f:
        f.market_data.streamed.put_nowait(batch(update(5, kind=1)))
        await f.until_heard(1)
        f.market_data.streamed.put_nowait(batch(update(9, "100.10", kind=1), update(10, "100.20")))
        await f.until_heard(2)

        assert len(f.market_data.requests) == 1
        assert f.heard[1][0].bid_ticks == 10_020
        assert f.shown("exchange_prices_missed_total") == 3


async def test_another_epoch_begins_anew_and_old_messages_are_passed_over() -> None:
    async with following() as f:
        f.market_data.streamed.put_nowait(batch(update(500, kind=1)))
        f.market_data.streamed.put_nowait(batch(update(1, "99.00", epoch=EPOCH + 1, kind=1)))
        await f.until_heard(2)
        f.market_data.streamed.put_nowait(batch(update(1, "55.00", epoch=EPOCH + 1)))
        f.market_data.streamed.put_nowait(batch(update(2, "99.50", epoch=EPOCH + 1)))
        await f.until_heard(3)

        assert [prices[0].bid_ticks for prices in f.heard] == [10_000, 9_900, 9_950]


async def test_a_grid_that_does_not_fit_is_named_and_the_others_are_read() -> None:
    market_data = FakeMarketData()
    market_data.symbols = {BTC: "0.05", ETH: "0.01"}
    with capture_logs() as logs:
        async with following(market_data) as f:
            f.market_data.streamed.put_nowait(batch(update(1, symbol=ETH)))
            await f.until_heard(1)

            health = f.prices.health()
            assert health.status is DependencyStatus.DEGRADED
            assert health.detail == (
                "market-data prices BTC/USD in ticks of 0.05 and this exchange expects 0.01; "
                "set TICK_SIZES alike in both services"
            )
            assert f.market_data.asked() == [{ETH: None}]
    assert [entry["symbol"] for entry in logs if entry["event"] == "prices_do_not_fit"] == [BTC]


async def test_symbols_that_are_not_priced_are_named_until_they_are() -> None:
    market_data = FakeMarketData()
    market_data.symbols = {}
    async with following(market_data) as f:
        await f.until(lambda: "set DEFAULT_SYMBOLS alike" in f.prices.health().detail)
        assert f.market_data.requests == []

        market_data.symbols = {BTC: "0.01", ETH: "0.01"}
        await f.until(lambda: f.market_data.requests)
        f.market_data.streamed.put_nowait(batch(update(1)))
        await f.until_heard(1)

        assert f.prices.health().status is DependencyStatus.OK


async def test_market_data_that_is_away_at_the_start_is_waited_for() -> None:
    market_data = FakeMarketData()
    market_data.failure = Unavailable("no instance is registered")
    with capture_logs() as logs:
        async with following(market_data) as f:
            await f.until(lambda: "no instance is registered" in f.prices.health().detail)
            market_data.failure = None
            f.market_data.streamed.put_nowait(batch(update(1)))
            await f.until_heard(1)
            await f.until(lambda: f.prices.health().status is DependencyStatus.OK)
    assert [entry["event"] for entry in logs] == ["price_stream_lost", "price_stream_back"]


async def test_a_price_off_the_grid_is_left_out_and_named() -> None:
    async with following() as f:
        f.market_data.streamed.put_nowait(batch(update(1, "100.001"), update(1, symbol=ETH)))
        await f.until_heard(1)

        assert [price.symbol for price in f.heard[0]] == [ETH]
        assert "multiple of 0.01" in f.prices.health().detail
