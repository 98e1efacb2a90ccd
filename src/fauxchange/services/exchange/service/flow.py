"""The background order flow at work: slices of its commands on the clock's grid, by the one way into the kernel.

The rules of this module:

* The law of the flow (`core.flow`) says what is placed and canceled in a slice of venue time; it reads the kernel's own
  books. What comes of it is one block, submitted when the slice is over and before anything else of that moment.
* One block is under way at a time. On a virtual clock time stands still until it is carried out; on the wall's clock a
  slice that comes meanwhile is left out.
* An instrument has traders while its price is fresh and it is open; else their orders are pulled. Age is told by the
  venue's clock.
* A block that could not be stored is nobody's concern: the law reads the books anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import structlog

from fauxchange.domain.errors import Unavailable
from fauxchange.domain.listings import Listing
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import DependencyHealth, DependencyStatus, MetricsPort
from fauxchange.services.exchange.core.commands import (
    cancel_all,
    create_account,
    create_asset,
    create_instrument,
    deposit,
    withdraw,
)
from fauxchange.services.exchange.core.engine import Engine, stamp
from fauxchange.services.exchange.core.flow import (
    INTENSITIES,
    FlowAccounts,
    FlowInstrument,
    OrderFlow,
    flow_instrument,
)
from fauxchange.services.exchange.core.layout import C_TS_NS, E_KIND, E_REASON, Int64Array, words
from fauxchange.services.exchange.core.quoting import Pricing
from fauxchange.services.exchange.core.state import State, balance_of, open_orders
from fauxchange.services.exchange.core.vocabulary import (
    ALL_INSTRUMENTS,
    EVENT_COMMAND_REJECTED,
    EVENT_ORDER_REJECTED,
    INSTRUMENT_OPEN,
    TRANSIT_ACCOUNT,
    RejectReason,
)
from fauxchange.services.exchange.ports import FeedPrice, MarketPrices, RecordedBooks
from fauxchange.services.exchange.service.alarm import Parent
from fauxchange.services.exchange.service.background import BackgroundAccounts, Survey
from fauxchange.services.exchange.service.blocks import packer
from fauxchange.services.exchange.service.entries import Block, Entry, Note, as_rows, row_of
from fauxchange.services.exchange.service.projections import MAX_BEHIND
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.services.exchange.service.use_cases import UseCases

FLOW_PRIORITY: Final = -5
"""A slice is over before prices of the moment are published, and after orders of the moment have expired."""
FLOW_FUNDS: Final = 10**17
"""What each background account is given of each asset: a thousand million units with 8 decimals.

Units: minor units of the asset
"""
LOW: Final = FLOW_FUNDS // 4
MUCH: Final = FLOW_FUNDS * 4
FUNDING_INTERVAL_NS: Final = 60 * NS_PER_S
"""How often funds are looked at. Units: nanoseconds of venue time"""
FLOW_ORIGIN: Final = Origin("flow")
ACCOUNT_NAMES: Final = (
    "background maker 1",
    "background maker 2",
    "background maker 3",
    "background taker 1",
    "background taker 2",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPlan:
    """How the background order flow trades an instrument.

    Units: day_notional in whole units of the quote asset
    """

    intensity: str
    day_notional: float


class FlowSettings(Protocol):
    """What the flow must be told. Units: nanoseconds of venue time."""

    @property
    def pricing(self) -> Mapping[str, Pricing]:
        """Where each instrument's price comes from."""
        ...

    @property
    def flow(self) -> Mapping[str, FlowPlan]:
        """The instruments that have background traders."""
        ...

    @property
    def flow_slice_ns(self) -> int:
        """How much venue time one block is."""
        ...

    @property
    def house_stale_after_ns(self) -> int:
        """The age of a price at which orders are pulled."""
        ...

    @property
    def seed(self) -> int:
        """The seed of every random stream."""
        ...


class Law(Protocol):
    """What makes the commands of some instruments, as `OrderFlow` does."""

    def take_up(self, state: State) -> None:
        """Go on with a kernel's state, and with the orders in it."""
        ...

    def set_active(self, instrument: int, is_active: bool) -> None:
        """Let an instrument's traders act, or not."""
        ...

    def anchor(self, instrument: int, bid_ticks: int, ask_ticks: int, ts_ns: int) -> None:
        """Take note of the newest market-data price of an instrument."""
        ...

    def heard(self, commands: Int64Array, events: Int64Array) -> None:
        """Take note of a batch that was carried out, whosever."""
        ...

    def commands(self, from_ns: int, to_ns: int) -> Int64Array:
        """Return the commands of a slice, in the order of their times; they are valid until the next call."""
        ...


class FlowMetrics:
    """The measurements of the flow. Labels: symbol, bounded by what is listed; reason, by the kernel's."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.slices = metrics.counter("exchange_flow_slices_total", "Slices of the background order flow.")
        self.skipped = metrics.counter(
            "exchange_flow_slices_skipped_total",
            "Slices left out because the one before was not carried out yet, or the read models are far behind.",
        )
        self.commands = metrics.counter("exchange_flow_commands_total", "Commands of the background order flow.")
        self.refusals = metrics.counter(
            "exchange_flow_refusals_total", "Commands of the flow that came to nothing, by reason.", ("reason",)
        )
        self.pulls = metrics.counter(
            "exchange_flow_pulls_total", "Times the flow's orders of an instrument were pulled.", ("symbol",)
        )
        self.inactive = metrics.gauge(
            "exchange_flow_inactive_instruments", "Instruments whose background traders wait for a price or an opening."
        )


@dataclass(slots=True, eq=False)
class _Desk:
    """What the flow knows of one instrument. Units: ticks of the instrument, nanoseconds of venue time."""

    listing: Listing
    plan: FlowPlan
    pricing: Pricing
    price: tuple[int, int] | None = None
    priced_ns: int = 0
    law: Law | None = None
    is_active: bool = True
    """Whether it may have orders; what an earlier run has left is pulled if it may not."""


class BackgroundFlow:
    """Keep the background traders at work; `listed` comes before `start`."""

    def __init__(
        self,
        use_cases: UseCases,
        *,
        prices: MarketPrices,
        config: FlowSettings,
        metrics: MetricsPort,
        compiler: Callable[[Any], Any],
        books: RecordedBooks | None = None,
        new_law: Callable[..., Law] = OrderFlow,
    ) -> None:
        self._use_cases = use_cases
        self._clock = use_cases.clock
        self._prices = prices
        self._config = config
        self._metrics = FlowMetrics(metrics)
        self._compiler = compiler
        self._books = books
        self._new_law = new_law
        self._desks: dict[str, _Desk] = {}
        self._desks_of: dict[str, list[_Desk]] = {}
        self._laws: list[Law] = []
        self._task: Any = None
        self._in_flight: Block | None = None
        self._funded_ns = 0
        self._assets = 0
        self._left: set[int] = set()
        self.running = False

    @property
    def _accounts(self) -> tuple[int, ...]:
        return tuple(self._use_cases.registry.background.numbers)

    @property
    def _state(self) -> State:
        # A recovery gives the venue another engine, and with it another state.
        return self._use_cases.venue.engine.state

    # Beginning and end

    def listed(self, listings: Iterable[Listing]) -> None:
        """Take note of the instruments that are traded."""
        for listing in listings:
            plan, pricing = self._config.flow.get(listing.symbol), self._config.pricing.get(listing.symbol)
            self._assets = max(self._assets, listing.base.number + 1, listing.quote.number + 1)
            if plan is None or pricing is None or pricing.feed is None or listing.symbol in self._desks:
                continue
            if self._books is not None and self._books.has(listing.symbol):
                log.info("flow_stays_out", symbol=listing.symbol, reason="its feed replays a recorded book")
                continue
            desk = _Desk(listing=listing, plan=plan, pricing=pricing)
            self._desks[listing.symbol] = desk
            self._desks_of.setdefault(pricing.feed, []).append(desk)

    def start(self, parent: Parent) -> None:
        """Begin to trade; orders of an earlier run in instruments without background traders are pulled."""
        if not self._accounts:
            return
        self._pull_left()
        if not self._desks:
            return
        self.running = True
        self._prices.subscribe(self.heard)
        for desk in self._desks.values():
            newest = self._prices.latest(desk.pricing.feed or "")
            if newest is not None:
                self._take_price(desk, newest)
        self._fund()
        self._task = parent.supervise(self._run(), "background order flow")

    async def stop(self) -> None:
        """Pull all orders, and place no more."""
        if not self.running:
            return
        self.running = False
        self._task.cancel()
        self._submit_rows([cancel_all(account, ALL_INSTRUMENTS) for account in self._accounts])

    def health(self) -> DependencyHealth:
        """Say whether all instruments that should have background traders do."""
        # An instrument that an administrator has halted is as it should be.
        missing = [
            symbol
            for symbol, desk in self._desks.items()
            if self.running and not desk.is_active and desk.listing.status == INSTRUMENT_OPEN
        ]
        if missing:
            return DependencyHealth(
                DependencyStatus.DEGRADED, f"no fresh price for {', '.join(missing)}: no background orders"
            )
        return DependencyHealth(DependencyStatus.OK)

    def _pull_left(self) -> None:
        """Pull what an earlier run has left where there are no background traders now; remember what else it left."""
        wanted = {desk.listing.number for desk in self._desks.values()}
        orders = open_orders(self._state)
        left = {(row["instrument"], row["account"]) for row in orders[np.isin(orders["account"], self._accounts)]}
        self._left = {int(number) for number, _ in left}
        self._submit_rows(
            [cancel_all(int(account), int(number)) for number, account in sorted(left) if number not in wanted]
        )

    # What the flow hears

    def heard(self, prices: Sequence[FeedPrice]) -> None:
        """Take in the prices of one step."""
        if not self.running:
            return
        for price in prices:
            for desk in self._desks_of.get(price.symbol, ()):
                self._take_price(desk, price)

    def carried_out(self, commands: Int64Array, events: Int64Array) -> None:
        """Take in what a batch of commands, whosever, has led to; both arrays are valid during the call."""
        for law in self._laws:
            law.heard(commands, events)

    def _take_price(self, desk: _Desk, price: FeedPrice) -> None:
        now_ns = self._clock.now_ns()
        priced_ns = min(price.ts_ns, now_ns)
        if priced_ns < desk.priced_ns or priced_ns + self._config.house_stale_after_ns <= now_ns:
            return
        desk.price, desk.priced_ns = desk.pricing.bid_ask(price.bid_ticks, price.ask_ticks), priced_ns
        if desk.law is not None:
            desk.law.anchor(desk.listing.number, *desk.price, priced_ns)

    # What the flow does

    async def _run(self) -> None:
        slice_ns = self._config.flow_slice_ns
        while True:
            due_ns = (self._clock.now_ns() // slice_ns + 1) * slice_ns
            await self._clock.sleep_until(due_ns, priority=FLOW_PRIORITY)
            # Whoever the clock has woken holds it: a virtual clock waits while the read models are far behind.
            has_room = await self._has_room()
            if self._in_flight is not None:
                self._metrics.skipped.inc()
                continue
            self._look_around(self._clock.now_ns())
            if has_room:
                self._trade(due_ns - slice_ns, due_ns)
            else:
                self._metrics.skipped.inc()

    async def _has_room(self) -> bool:
        """Wait while the read models are far behind; say whether they have come nearer.

        So the flow is never what others are refused for.
        """
        projector = self._use_cases.projector
        if projector.behind > MAX_BEHIND // 2:
            with suppress(Unavailable):
                await projector.flush()
        return projector.behind <= MAX_BEHIND // 2

    def _look_around(self, now_ns: int) -> None:
        """Let each instrument's traders act or not, as its price and its status say; see to funds."""
        fresh: list[_Desk] = []
        for desk in self._desks.values():
            is_fresh = desk.price is not None and desk.priced_ns + self._config.house_stale_after_ns > now_ns
            may_trade = is_fresh and desk.listing.status == INSTRUMENT_OPEN
            if may_trade and desk.law is None:
                fresh.append(desk)
            if may_trade != desk.is_active:
                desk.is_active = may_trade
                self._switch(desk, may_trade)
        if fresh:
            self._open(fresh)
        if now_ns - self._funded_ns >= FUNDING_INTERVAL_NS:
            self._fund()

    def _switch(self, desk: _Desk, is_active: bool) -> None:
        if desk.law is not None:
            desk.law.set_active(desk.listing.number, is_active)
        if not is_active and (desk.law is not None or desk.listing.number in self._left):
            rows = [cancel_all(account, desk.listing.number) for account in self._accounts]
            if self._submit_rows(rows, partial(self._pulled, desk)):
                self._metrics.pulls.inc(1, desk.listing.symbol)
                log.warning("flow_pulled", symbol=desk.listing.symbol, is_open=desk.listing.status == INSTRUMENT_OPEN)
            else:
                desk.is_active = True
        self._metrics.inactive.set(sum(not each.is_active for each in self._desks.values()))

    def _pulled(self, desk: _Desk, entry: Entry) -> None:
        """Pull again with the next slice what the journal failed to store."""
        if entry.failure is not None:
            desk.is_active = True

    def _open(self, desks: Sequence[_Desk]) -> None:
        """Begin to trade in instruments that have got their first price, one law for those of an intensity."""
        for intensity in sorted({desk.plan.intensity for desk in desks}):
            of_one = [desk for desk in desks if desk.plan.intensity == intensity]
            law = self._new_law(
                [_instrument(desk) for desk in of_one],
                _roles(self._accounts),
                seed=self._config.seed,
                intensity=INTENSITIES[intensity],
                slice_ns=self._config.flow_slice_ns,
                compiler=self._compiler,
            )
            law.take_up(self._state)
            for desk in of_one:
                desk.law = law
                if desk.price is not None:
                    law.anchor(desk.listing.number, *desk.price, desk.priced_ns)
            self._laws.append(law)

    def _trade(self, from_ns: int, to_ns: int) -> None:
        made = [rows for law in self._laws if len(rows := law.commands(from_ns, to_ns))]
        if not made:
            return
        # The law writes over its rows, and the journal may keep these for longer.
        matrix = np.concatenate(made)
        if len(made) > 1:
            matrix = matrix[np.argsort(matrix[:, C_TS_NS], kind="stable")]
        block = Block(matrix, Note(FLOW_ORIGIN), self._over)
        try:
            self._use_cases.submit(block)
        except Unavailable:
            self._refused(len(matrix))
            return
        self._in_flight = block
        self._metrics.slices.inc()

    def _over(self, block: Block) -> None:
        """Take note of what came of a slice."""
        self._in_flight = None
        if block.failure is not None or block.events is None:
            self._refused(len(block.matrix))
            return
        self._metrics.commands.inc(len(block.matrix))
        kinds = block.events[:, E_KIND]
        refused = block.events[(kinds == EVENT_COMMAND_REJECTED) | (kinds == EVENT_ORDER_REJECTED), E_REASON]
        for reason in refused.tolist():
            self._metrics.refusals.inc(1, RejectReason(reason).name.lower())

    def _refused(self, commands: int) -> None:
        self._metrics.refusals.inc(commands, "unavailable")
        for law in self._laws:
            law.take_up(self._state)

    # Funds

    def _fund(self) -> None:
        """Give accounts that run low more, and take from those that have much: in the long run both come to nothing."""
        self._funded_ns = self._clock.now_ns()
        state = self._state
        rows = []
        for account in self._accounts:
            for asset in range(self._assets):
                free, held = balance_of(state, account, asset)
                if free + held < LOW:
                    rows.append(deposit(account, asset, FLOW_FUNDS - free - held))
                elif free > MUCH:
                    rows.append(withdraw(account, asset, free - FLOW_FUNDS))
        self._submit_rows(rows)

    def _submit_rows(self, rows: Sequence[Any], done: Callable[[Entry], None] | None = None) -> bool:
        """Hand commands over one by one; say whether they were taken."""
        if not rows:
            return True
        try:
            self._use_cases.submit(*(Entry(row_of(row), Note(FLOW_ORIGIN), done) for row in rows))
        except Unavailable as exc:
            log.warning("flow_not_heard", reason=exc.message)
            return False
        return True


def _instrument(desk: _Desk) -> FlowInstrument:
    """Return an instrument as the law sees it, traded no more than the accounts have funds for."""
    listing = desk.listing
    bid_ticks, _ = desk.price or (1, 1)
    of_base = FLOW_FUNDS // listing.lot_value
    of_quote = FLOW_FUNDS // (bid_ticks * listing.tick_value)
    told = flow_instrument(listing, bid_ticks, day_notional=desk.plan.day_notional)
    return FlowInstrument(
        number=told.number,
        symbol=told.symbol,
        day_lots=max(1.0, min(told.day_lots, float(of_base), float(of_quote))),
        day_volatility=told.day_volatility,
    )


def warm_up(compiler: Callable[[Any], Any]) -> None:
    """Compile what the flow runs, or load what was compiled, before anything waits for it."""
    setting_up = [create_asset(), create_asset(), create_instrument(0, 1), *(create_account() for _ in ACCOUNT_NAMES)]
    numbers = range(TRANSIT_ACCOUNT + 1, TRANSIT_ACCOUNT + 1 + len(ACCOUNT_NAMES))
    setting_up += [deposit(account, asset, FLOW_FUNDS) for account in numbers for asset in (0, 1)]
    engine = Engine(compiler=compiler)
    engine.run(stamp(setting_up, first_sequence=1, ts_ns=0))
    instrument = FlowInstrument(number=0, symbol="warm-up", day_lots=1e6)
    law = OrderFlow([instrument], _roles(numbers), seed=1, compiler=compiler)
    law.take_up(engine.state)
    law.anchor(0, 10_000, 10_001, 0)
    rows = law.commands(0, law.slice_ns)
    events = words(engine.apply(stamp([as_rows(rows)], first_sequence=len(setting_up) + 1, ts_ns=NS_PER_S)))
    law.heard(rows, events)
    Survey(BackgroundAccounts(), compiler).of(events)
    packer(compiler)(rows)


def _roles(accounts: Sequence[int]) -> FlowAccounts:
    near, middle, deep, first, second = accounts
    return FlowAccounts(makers=(near, middle, deep), takers=(first, second))
