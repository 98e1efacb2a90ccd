"""An exchange for tests: the real use cases and the real kernel (plain Python) over any stores, on a virtual clock."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from fauxchange.contracts.exchange.messages import AccountRequest, OrderRequest, TransferRequest
from fauxchange.data.ports import DataAdapter, JournalRepository
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import OrderRecord
from fauxchange.domain.times import parse_time
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.core.engine import Engine, interpreted
from fauxchange.services.exchange.service.exchange import ExchangeService
from fauxchange.services.exchange.service.genesis import configuration_entries
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.recovery import Recovered, recover
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Origin, Placement
from fauxchange.services.exchange.service.sequencer import Sequencer
from fauxchange.services.exchange.service.venue import Venue

START_NS = parse_time("2026-01-31T12:00:00Z")
ORIGIN = Origin("test", "127.0.0.1", "request-1", "trace-1")
BTC, USD, ETH = Asset(number=0, name="BTC"), Asset(number=1, name="USD"), Asset(number=2, name="ETH")
BTC_USD = Listing(
    number=0,
    instrument=Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")),
    base=BTC,
    quote=USD,
)
ETH_USD = Listing(
    number=1,
    instrument=Instrument(symbol="ETH/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001")),
    base=ETH,
    quote=USD,
)
FEES = {0: (1_000, 2_000)}


class Exchange:
    """A running exchange; `stop` it, then make another over the same stores to restart it."""

    def __init__(
        self, data: DataAdapter, *, clock: VirtualClock | None = None, journal: JournalRepository | None = None
    ) -> None:
        self.data = data
        self.clock = VirtualClock(START_NS) if clock is None else clock
        self.journal = data.journal if journal is None else journal
        self.tasks: set[asyncio.Task[Any]] = set()
        self.task_over: Callable[[asyncio.Task[Any]], object] = self.tasks.discard
        self.projector = Projector(data.exchange)
        self.venue = Venue(Engine(), Registry(), self.projector, hub=Hub(), epoch=1, keep=1_000)
        self.sequencer = Sequencer(self.journal, self.venue, clock=self.clock, max_queue=10_000, spawn=self._spawn)
        self.service = ExchangeService(
            self.venue, self.sequencer, self.projector, data.exchange, clock=self.clock, spawn=self._spawn
        )
        self.service.new_key = lambda: ("key", "secret", "encrypted")
        self.recovered: Recovered | None = None

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.task_over)
        return task

    async def start(self) -> "Exchange":
        self.recovered = await recover(
            self.venue,
            self.projector,
            journal=self.journal,
            snapshots=self.data.kernel_snapshots,
            read_models=self.data.exchange,
            compiler=interpreted,
        )
        self.sequencer.go_on_after(self.venue.sequence, self.venue.ts_ns)
        self.venue.live = True
        entries = configuration_entries(
            self.venue.registry, assets=[BTC, USD, ETH], listings=[BTC_USD, ETH_USD], fees=FEES, house_funds=0
        )
        for entry in entries:
            self.service.submit(entry)
        await self.sequencer.run_dry()
        return self

    async def stop(self) -> None:
        await self.sequencer.close()
        await self.projector.flush()

    # What tests do all the time

    async def account(self, **funds: str) -> int:
        record = await self.service.create_account(AccountRequest(name="somebody"), ORIGIN)
        for asset, amount in funds.items():
            await self.service.deposit(str(record.account), TransferRequest(asset=asset, amount=amount), ORIGIN)
        return record.account

    async def place(self, account: int, side: str, quantity: str, price: str | None = None, **more: Any) -> Placement:
        return await self.service.place_order(account, order(side, quantity, price, **more), ORIGIN)

    def hash(self) -> str:
        return self.venue.engine.state_hash()

    async def stored_order(self, order_id: int) -> OrderRecord:
        await self.projector.flush()
        record = await self.data.exchange.order(order_id)
        assert record is not None
        return record

    def sums(self) -> dict[str, tuple[int, int]]:
        """All that accounts have, free and held, by asset: conservation makes the two add up to 0."""
        sums: dict[str, tuple[int, int]] = {}
        for account in range(self.venue.account_count):
            for balance in self.venue.balances_of(account):
                free, held = sums.get(balance.asset, (0, 0))
                sums[balance.asset] = (free + balance.free, held + balance.held)
        return sums


def order(side: str, quantity: str | None, price: str | None = None, **more: Any) -> OrderRequest:
    kind = more.pop("type", "market" if price is None else "limit")
    return OrderRequest(
        symbol=more.pop("symbol", "BTC/USD"), side=side, type=kind, quantity=quantity, price=price, **more
    )


class FaultyJournal:
    """A journal that fails when told to: before storing, or after it (so that nobody knows)."""

    def __init__(self, inner: JournalRepository) -> None:
        self.inner = inner
        self.fail_before = 0
        self.fail_after = 0
        self.blind = False
        self.lost: Exception | None = None
        self.held: list[Callable[[], None]] | None = None

    def hold(self) -> None:
        """Keep appends waiting until `let_go`."""
        self.held = []

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for each in held:
            each()

    async def append(self, first_sequence: int, last_sequence: int, payload: bytes) -> None:
        await self.inner.append(first_sequence, last_sequence, payload)

    def append_soon(
        self, first_sequence: int, last_sequence: int, payload: bytes, done: Callable[[Exception | None], None]
    ) -> None:
        from fauxchange.domain.errors import Unavailable

        if self.held is not None:
            self.held.append(lambda: self.append_soon(first_sequence, last_sequence, payload, done))
        elif self.fail_before:
            self.fail_before -= 1
            asyncio.get_running_loop().call_soon(done, Unavailable("the disk is full"))
        elif self.fail_after:
            self.fail_after -= 1
            self.inner.append_soon(
                first_sequence, last_sequence, payload, lambda _: done(Unavailable("the disk went away"))
            )
        else:
            self.inner.append_soon(first_sequence, last_sequence, payload, done)

    async def last_sequence(self) -> int:
        from fauxchange.domain.errors import Unavailable

        if self.blind:
            raise Unavailable("the disk is away")
        if self.lost is not None:
            raise self.lost
        return await self.inner.last_sequence()

    def read(self, after_sequence: int = 0) -> Any:
        return self.inner.read(after_sequence)
