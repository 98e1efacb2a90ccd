import asyncio
import heapq
import itertools
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from decimal import Decimal

import pytest

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.market_data import FeedSource
from fauxchange.services.market_data.clients.feeds import FeedConnection, FeedMessage, FeedQuote, FeedTrade
from fauxchange.services.market_data.clients.push import MAX_BEHIND, FeedState, PushSettings, PushSource
from fauxchange.services.market_data.clients.tcp_feed import TcpJsonTransport
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, PriceBatch

BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
ETH = Instrument(symbol="ETH/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
SETTINGS = PushSettings(stale_after_s=5, backoff_base_s=1, backoff_cap_s=8, queue_rows=10)


class StillClock:
    """Venue time that moves when told."""

    def __init__(self) -> None:
        self.ns = 1_000

    def now_ns(self) -> int:
        return self.ns

    async def sleep_until(self, ts_ns: int, *, priority: int = 0) -> None:
        raise NotImplementedError

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()


class FakeWall:
    """Wall time that moves when told, and wakes whoever is due."""

    def __init__(self) -> None:
        self.s = 0.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.s + seconds, len(self.slept), future))
        await future

    @property
    def waiting(self) -> int:
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        end = self.s + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.s, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.s = end


class Feed:
    """A real feed on a local socket, that does as it is told."""

    def __init__(self) -> None:
        self.port = 0
        self.subscriptions: list[dict[str, object]] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await self._server.wait_closed()

    def send(self, *messages: dict[str, object] | bytes) -> None:
        for writer in self._writers:
            for message in messages:
                writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while line := await reader.readline():
                self.subscriptions.append(json.loads(line))
        except ConnectionError:
            pass
        finally:
            writer.close()


async def settle() -> None:
    """Let everything that can run do so, sockets included."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a real socket brings about."""
    async with asyncio.timeout(5):
        while not condition():
            await settle()


def quote(sequence: int, bid: str = "100.00", ask: str = "100.02", **more: object) -> dict[str, object]:
    return {"type": "quote", "sequence": sequence, "symbol": "BTC/USD", "bid": bid, "ask": ask, **more}


def trade(sequence: int, price: str = "100.01", quantity: str = "0.5") -> dict[str, object]:
    return {"type": "trade", "sequence": sequence, "symbol": "BTC/USD", "price": price, "quantity": quantity}


def heartbeat(sequence: int | None) -> dict[str, object]:
    return {"type": "heartbeat", "sequence": sequence}


class Bench:
    """A feed, a source that listens to it, and the clocks of both."""

    def __init__(self, settings: PushSettings = SETTINGS, instruments: tuple[Instrument, ...] = (BTC, ETH)) -> None:
        self.feed, self.clock, self.wall = Feed(), StillClock(), FakeWall()
        self.settings, self.instruments = settings, instruments
        self.source: PushSource

    async def up(self) -> None:
        await self.feed.start()
        transport = TcpJsonTransport("127.0.0.1", self.feed.port, symbols=["BTC/USD", "ETH/USD"])
        self.source = PushSource(
            transport, self.instruments, self.clock, random=lambda: 0.5, wall=self.wall, settings=self.settings
        )
        await self.source.open(0)
        await until(lambda: len(self.feed.subscriptions) == 1)

    async def take(self, max_steps: int = 100) -> PriceBatch:
        async with asyncio.timeout(5):
            batch = await self.source.next(max_steps)
        assert batch is not None
        return batch

    async def away(self) -> None:
        """Wait until the connection is lost and the wait before the next one has begun."""
        await until(lambda: self.source.feed_state is FeedState.CONNECTING and self.wall.waiting == 1)

    async def heard(self, messages: int) -> None:
        await until(lambda: self.source.counts.messages >= messages)


@asynccontextmanager
async def bench(**options: object) -> AsyncIterator[Bench]:
    result = Bench(**options)  # type: ignore[arg-type]
    await result.up()
    try:
        yield result
    finally:
        await result.source.close()
        await result.feed.kill()
        await settle()


async def test_quotes_and_trades_become_rows_stamped_on_arrival() -> None:
    async with bench() as b:
        b.feed.send(quote(1, symbol="btc-usd"), trade(2))

        await b.heard(2)
        batch = await b.take()

    assert b.source.kind is FeedSource.LIVE
    assert batch.ts_ns.tolist() == [1_000, 1_000]
    assert batch.mid_half_ticks.tolist() == [20002, 20002]
    assert batch.spread_ticks.tolist() == [2, 2]
    assert batch.last_ticks.tolist() == [NO_LAST, 10001]
    assert batch.volume_lots.tolist() == [0, 500]


async def test_a_trade_before_any_quote_leaves_the_spread_to_the_policy() -> None:
    async with bench() as b:
        b.feed.send(trade(1, "100.05"))

        batch = await b.take()

    assert (batch.mid_half_ticks[0], batch.spread_ticks[0], batch.last_ticks[0]) == (20010, SPREAD_BY_POLICY, 10005)


async def test_a_batch_holds_at_most_so_many_moments() -> None:
    async with bench() as b:
        for sequence, ns in enumerate((10, 10, 20, 5), 1):
            b.clock.ns = 1_000 + ns
            b.feed.send(quote(sequence))
            await b.heard(sequence)

        first, second = await b.take(1), await b.take(5)

    assert first.ts_ns.tolist() == [1_010, 1_010]
    # Venue time never goes back, even if its clock should.
    assert second.ts_ns.tolist() == [1_020, 1_020]


async def test_a_lost_message_is_a_gap_that_asks_for_the_present_state() -> None:
    async with bench() as b:
        b.feed.send(quote(1), quote(4), heartbeat(4), heartbeat(6))

        await until(lambda: len(b.feed.subscriptions) == 2)
        await b.heard(4)

    assert (b.source.counts.gaps, b.source.counts.missed) == (2, 4)
    # The second gap came within a second of the first, and waits for its turn.
    assert b.source.counts.resubscribes == 1
    assert b.feed.subscriptions[1] == {"op": "subscribe", "symbols": ["BTC/USD", "ETH/USD"]}


async def test_a_gap_that_had_to_wait_is_asked_about_later() -> None:
    async with bench() as b:
        b.feed.send(quote(1), quote(3), quote(5))
        await b.heard(3)
        await b.wall.advance(1.5)
        b.feed.send(heartbeat(5))

        await until(lambda: len(b.feed.subscriptions) == 3)

    assert b.source.counts.resubscribes == 2


async def test_old_messages_are_dropped_and_counted() -> None:
    async with bench() as b:
        b.feed.send(quote(5), quote(4, bid="1.00"), quote(5, bid="2.00"), quote(6))
        await b.heard(4)

        batch = await b.take()

    assert len(batch) == 2
    assert b.source.counts.out_of_order == 2


async def test_one_wrong_high_number_does_not_silence_the_feed() -> None:
    async with bench(settings=PushSettings()) as b:
        b.feed.send(quote(1), quote(10**15), *(quote(2 + i) for i in range(MAX_BEHIND + 5)))
        await b.heard(MAX_BEHIND + 7)

        batch = await b.take()

    assert len(batch) == 2 + 5
    assert b.source.counts.restarts == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"hello\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
        b'{"type": "quote"}\n',
        b"x" * 200_000 + b"\n",
        json.dumps(quote(1, symbol="XRP/USD")).encode() + b"\n",
        json.dumps(quote(1, symbol="no such thing")).encode() + b"\n",
        json.dumps(quote(1, symbol=None)).encode() + b"\n",
        json.dumps(quote(1, bid="100.001")).encode() + b"\n",
        json.dumps(quote(1, bid="100.03")).encode() + b"\n",
        json.dumps(quote(1, bid="0")).encode() + b"\n",
        json.dumps(quote(1, bid="NaN")).encode() + b"\n",
        json.dumps(quote(1, ask="1e30")).encode() + b"\n",
        json.dumps(trade(1, quantity="-1")).encode() + b"\n",
        json.dumps(trade(1, quantity="1e17")).encode() + b"\n",
        json.dumps(quote(-1)).encode() + b"\n",
    ],
)
async def test_nonsense_is_counted_and_never_fatal(nonsense: bytes) -> None:
    async with bench() as b:
        b.feed.send(nonsense, quote(2))

        batch = await b.take()

    assert len(batch) == 1
    assert b.source.counts.bad >= 1
    assert b.source.counts.connects == 1
    assert b.source.report()["last_error"]


async def test_a_feed_of_one_instrument_need_not_name_it() -> None:
    async with bench(instruments=(ETH,)) as b:
        b.feed.send({"type": "quote", "sequence": 1, "bid": 10, "ask": 10.5})

        batch = await b.take()

    assert batch.mid_half_ticks.tolist() == [2050]


async def test_the_oldest_rows_go_when_the_queue_is_full() -> None:
    async with bench() as b:
        b.feed.send(*(quote(i, bid=f"{i}.00") for i in range(1, 16)))
        await b.heard(15)

        batch = await b.take()

    assert len(batch) == 10
    assert batch.mid_half_ticks[0] == 600 + 10002
    assert b.source.counts.dropped == 5


async def test_silence_makes_the_feed_stale_and_a_message_live_again() -> None:
    async with bench() as b:
        states = [b.source.feed_state]
        b.feed.send(quote(1))
        await b.heard(1)
        states.append(b.source.feed_state)
        await b.wall.advance(4.9)
        states.append(b.source.feed_state)
        await b.wall.advance(0.2)
        states.append(b.source.feed_state)
        b.feed.send(heartbeat(1))
        await b.heard(2)
        states.append(b.source.feed_state)
    states.append(b.source.feed_state)

    live, stale = FeedState.LIVE, FeedState.STALE
    assert states == [FeedState.CONNECTING, live, live, stale, live, FeedState.CLOSED]
    assert b.source.counts.stale == 1


async def test_a_connection_that_stays_silent_is_given_up_and_made_anew() -> None:
    async with bench() as b:
        b.feed.send(quote(1))
        await b.heard(1)

        await b.wall.advance(15.1)
        await b.away()
        await b.wall.advance(1)
        await until(lambda: len(b.feed.subscriptions) == 2)

    assert b.source.counts.connects == 2


async def test_a_feed_that_is_killed_and_restarted_goes_on() -> None:
    async with bench() as b:
        b.feed.send(quote(7))
        await b.take()

        await b.feed.kill()
        await b.away()
        await b.wall.advance(1)
        await until(lambda: b.source.counts.failures == 1)
        await b.feed.start()
        await b.wall.advance(2)
        await until(lambda: len(b.feed.subscriptions) == 2)
        b.feed.send(quote(1), quote(2))
        await b.heard(3)
        batch = await b.take()

    assert len(batch) == 2
    assert (b.source.counts.restarts, b.source.counts.gaps, b.source.counts.out_of_order) == (1, 0, 0)
    assert b.source.report()["reconnects"] == 1


async def test_what_was_missed_while_away_is_a_gap() -> None:
    async with bench() as b:
        b.feed.send(quote(7))
        await b.heard(1)
        await b.feed.kill()
        await b.away()
        await b.feed.start()
        await b.wall.advance(1)
        await until(lambda: len(b.feed.subscriptions) == 2)

        b.feed.send(quote(12))
        await b.heard(2)

    assert (b.source.counts.gaps, b.source.counts.missed, b.source.counts.restarts) == (1, 4, 0)


async def test_the_wait_between_attempts_doubles_up_to_a_bound_with_full_jitter() -> None:
    draws = itertools.chain([1.0, 0.5, 0.0], itertools.repeat(1.0))
    wall = FakeWall()
    source = PushSource(
        TcpJsonTransport("127.0.0.1", 1, connect_timeout_s=5),
        [BTC],
        StillClock(),
        random=lambda: next(draws),
        wall=wall,
        settings=SETTINGS,
    )
    await source.open(0)

    for attempt in range(1, 7):
        await until(lambda least=attempt: len(wall.slept) >= least)  # type: ignore[misc]
        await wall.advance(8)
    await source.close()

    assert wall.slept[:6] == [1.0, 0.5 * 2, 0.0, 8.0, 8.0, 8.0]
    assert source.counts.failures >= 6


async def test_closing_ends_a_waiting_reader() -> None:
    async with bench() as b:
        reader = asyncio.create_task(b.source.next(1))
        await settle()

        await b.source.close()

        assert await reader is None
        assert await b.source.next(1) is None


async def test_a_bug_in_a_transport_reaches_the_reader() -> None:
    class Broken:
        address = "nowhere"

        async def connect(self) -> FeedConnection:
            raise ZeroDivisionError

    source = PushSource(Broken(), [BTC], StillClock(), random=lambda: 0.0, wall=FakeWall())
    await source.open(0)

    with pytest.raises(ZeroDivisionError):
        await source.next(1)


async def test_a_transport_that_cannot_resubscribe_is_read_on() -> None:
    script: list[FeedMessage] = [
        FeedQuote(sequence=1, bid=Decimal(1), ask=Decimal(2)),
        FeedTrade(sequence=9, price=Decimal(1), quantity=Decimal("0.0005")),
    ]
    source = PushSource(Scripted(script), [BTC], StillClock(), random=lambda: 0.0, wall=FakeWall())
    await source.open(0)
    await until(lambda: source.counts.messages == 2)

    batch = await source.next(1)
    await source.close()

    assert batch is not None
    assert batch.volume_lots.tolist() == [0, 0]
    assert (source.counts.gaps, source.counts.resubscribes) == (1, 0)
    assert source.state() is None
    assert not source.restore({})


class Scripted:
    """A feed that says what it was given and then nothing."""

    address = "script"

    def __init__(self, messages: list[FeedMessage]) -> None:
        self._messages = messages

    async def connect(self) -> FeedConnection:
        return self

    async def receive(self) -> FeedMessage | None:
        if not self._messages:
            await asyncio.sleep(math.inf)
        return self._messages.pop(0)

    async def resubscribe(self) -> bool:
        return False

    async def close(self) -> None:
        pass
