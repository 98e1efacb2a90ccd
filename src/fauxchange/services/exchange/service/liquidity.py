"""The house: it quotes around the market's price with orders like anyone's, through the one way into the kernel.

The rules of this module:

* What the house wants follows from the newest price alone (`core.quoting`); what it has is what the kernel reported of
  its orders. A refresh submits the difference, as one group of commands, and nothing where both are equal.
* One refresh of an instrument is under way at a time, and there is at most one in each refresh interval of the clock,
  unless somebody traded with a quote: then at once.
* Within a group the side that makes room moves first, so the house never meets itself.
* Without a fresh price there is no quote. Age is told by the venue's clock, not by the next price.
* Where the feed replays a recorded book, what is wanted is that book, as it was at the newest price. What was taken of
  it stays taken until the next price.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Protocol

import numpy as np
import structlog

from fauxchange.domain.errors import Unavailable
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import OPEN_STATUSES, OrderRecord
from fauxchange.domain.times import NS_PER_MS
from fauxchange.platform.ports import Clock, DependencyHealth, DependencyStatus, MetricsPort
from fauxchange.services.exchange.core.commands import cancel_all, set_reference_price
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    COMMAND_WIDTH,
    E_KIND,
    E_REASON,
    Rows,
)
from fauxchange.services.exchange.core.quoting import (
    HousePlan,
    Level,
    Pricing,
    asks_move_first,
    desired_levels,
    recorded_levels,
    reference_moved,
    still_stands_back,
)
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CANCEL_REPLACE,
    COMMAND_PLACE,
    COMMAND_REPLACE_IN_PLACE,
    EVENT_COMMAND_REJECTED,
    EVENT_ORDER_REJECTED,
    HOUSE_ACCOUNT,
    INSTRUMENT_OPEN,
    ORDER_CANCELED,
    ORDER_EXPIRED,
    REASON_ORDER_FINISHED,
    SIDE_BUY,
    SIDE_SELL,
    STP_EXPIRE_MAKER,
    TYPE_LIMIT,
    RejectReason,
)
from fauxchange.services.exchange.ports import FeedPrice, MarketPrices, RecordedBooks
from fauxchange.services.exchange.service.alarm import Alarm, Parent
from fauxchange.services.exchange.service.entries import as_rows, row_of
from fauxchange.services.exchange.service.placing import cancel_row

HOUSE_PRIORITY: Final = 100
"""The house looks at the clock after all prices of the same moment have been published."""
BOOK_INTERVAL_NS: Final = 100 * NS_PER_MS
"""A recorded book is followed at least so often: its depth was told in such steps."""
RENEW_AT_QUOTE: Final = 2**61
"""An order that has traded so much is replaced by a new one, or its sums would leave 64 bits.

Units: minor units of the quote asset
"""

Row = list[int]
"""A command as the kernel takes it, by `COMMAND_COLUMNS`."""

log = structlog.get_logger(__name__)


class SubmitCommands(Protocol):
    """The way to the kernel."""

    def __call__(self, rows: Rows, done: Callable[[Sequence[list[int]] | Exception], None]) -> None:
        """Carry out commands as one group; `done` gets their events (by `EVENT_COLUMNS`), or why there are none.

        The orders that changed are told first. Raises: Unavailable; then `done` hears nothing
        """
        ...


class HouseSettings(Protocol):
    """What the house must be told. Units: nanoseconds of venue time."""

    @property
    def pricing(self) -> Mapping[str, Pricing]:
        """Where each instrument's price comes from."""
        ...

    @property
    def house(self) -> Mapping[str, HousePlan]:
        """How each instrument is quoted."""
        ...

    @property
    def recorded_book_levels(self) -> int:
        """How many levels of a recorded book are shown on each side."""
        ...

    @property
    def house_refresh_interval_ns(self) -> int:
        """The shortest time between two refreshes of an instrument."""
        ...

    @property
    def house_stale_after_ns(self) -> int:
        """The age of a price at which quotes are pulled."""
        ...


class HouseMetrics:
    """The measurements of the house. Labels: symbol, bounded by what is listed; reason, by the kernel's."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.refreshes = metrics.counter(
            "exchange_house_refreshes_total", "Changes of the house's quotes, by symbol.", ("symbol",)
        )
        self.pulls = metrics.counter(
            "exchange_house_pulls_total", "Times the house pulled its quotes for want of a fresh price.", ("symbol",)
        )
        self.refusals = metrics.counter(
            "exchange_house_refusals_total", "Commands of the house that came to nothing, by reason.", ("reason",)
        )
        self.stale = metrics.gauge(
            "exchange_house_stale_instruments", "Instruments that the house does not quote for want of a fresh price."
        )


@dataclass(slots=True, eq=False)
class _Desk:
    """What the house knows of one instrument. Units: ticks of the instrument, nanoseconds of venue time."""

    listing: Listing
    plan: HousePlan
    pricing: Pricing
    shows_recorded: bool = False
    """Whether its levels are those of a recorded book."""
    orders: dict[int, OrderRecord] = field(default_factory=dict)
    price: tuple[int, int] | None = None
    priced_ns: int = 0
    quoted: tuple[int, int] | None = None
    """The price that its levels stand back from, where they do."""
    is_stale: bool = True
    was_pulled: bool = False
    reference_ticks: int | None = None
    refreshed_ns: int | None = None
    is_due: bool = False
    """Something changed since the last refresh."""
    is_urgent: bool = False
    """It shall not wait for the refresh interval."""
    in_flight: bool = False
    refused: frozenset[int] = frozenset()
    """The reasons for which commands of the last refresh were refused."""

    @property
    def symbol(self) -> str:
        return self.listing.symbol

    @property
    def is_missing(self) -> bool:
        """Whether there should be quotes and cannot be."""
        return self.is_stale and self.plan.style != "off"


class HouseLiquidity:
    """Keep the house's quotes where they should be; `adopt` and `listed` come before `start`."""

    def __init__(
        self,
        submit: SubmitCommands,
        *,
        prices: MarketPrices,
        clock: Clock,
        config: HouseSettings,
        metrics: MetricsPort,
        books: RecordedBooks | None = None,
    ) -> None:
        self._submit = submit
        self._prices = prices
        self._books = books
        self._clock = clock
        self._config = config
        self._metrics = HouseMetrics(metrics)
        self._alarm = Alarm(clock, self._ring, name="house liquidity", priority=HOUSE_PRIORITY)
        self._desks: dict[str, _Desk] = {}
        self._desks_of: dict[str, list[_Desk]] = {}
        self._adopted: dict[int, OrderRecord] = {}
        self._running = False

    # Beginning and end

    def listed(self, listings: Iterable[Listing]) -> None:
        """Take note of the instruments that are traded; those without a plan and a price are left alone."""
        for listing in listings:
            plan, pricing = self._config.house.get(listing.symbol), self._config.pricing.get(listing.symbol)
            if plan is None or pricing is None or listing.symbol in self._desks:
                continue
            shown = plan.style == "levels" and self._books is not None and self._books.has(listing.symbol)
            desk = _Desk(listing=listing, plan=plan, pricing=pricing, shows_recorded=shown)
            self._desks[listing.symbol] = desk
            if pricing.feed is not None:
                self._desks_of.setdefault(pricing.feed, []).append(desk)
        self._take_over()

    def adopt(self, records: Iterable[OrderRecord]) -> None:
        """Take over the open orders of an earlier run."""
        self._adopted.update((record.order_id, record) for record in records)
        self._take_over()

    async def start(self, parent: Parent) -> None:
        """Begin to quote, from the newest prices there are; old quotes without a fresh price are pulled."""
        self._running = True
        self._alarm.start(parent)
        self._prices.subscribe(self.heard)
        for desk in self._desks.values():
            if desk.pricing.feed is None:
                desk.price, desk.is_stale = desk.pricing.constant(), False
            else:
                newest = self._prices.latest(desk.pricing.feed)
                if newest is not None:
                    self._take_price(desk, newest)
            desk.is_due = desk.is_urgent = True
            self._attend(desk)
        self._show_stale()
        # What is quoted no longer was adopted by no desk.
        self._pull([cancel_row(HOUSE_ACCOUNT, order_id) for order_id in self._adopted])
        self._adopted.clear()

    async def stop(self) -> None:
        """Pull all quotes, and quote no more."""
        self._running = False
        await self._alarm.stop()
        if any(desk.orders or desk.in_flight for desk in self._desks.values()):
            self._pull([row_of(cancel_all(HOUSE_ACCOUNT))])

    def _pull(self, rows: list[Row]) -> None:
        if rows:
            try:
                self._submit(_joined(rows), _ignore)
            except Unavailable as exc:
                log.warning("house_quotes_left", reason=exc.message)

    def health(self) -> DependencyHealth:
        """Say whether the house quotes all that it should."""
        missing = [desk.symbol for desk in self._desks.values() if desk.is_missing]
        if missing:
            return DependencyHealth(DependencyStatus.DEGRADED, f"no fresh price for {', '.join(missing)}: not quoted")
        return DependencyHealth(DependencyStatus.OK)

    def _take_over(self) -> None:
        for order_id, record in list(self._adopted.items()):
            desk = self._desks.get(record.symbol)
            if desk is not None:
                desk.orders[order_id] = self._adopted.pop(order_id)

    # What the house hears

    def heard(self, prices: Sequence[FeedPrice]) -> None:
        """Take in the prices of one step."""
        if not self._running:
            return
        fresh = []
        for price in prices:
            for desk in self._desks_of.get(price.symbol, ()):
                was_stale = desk.is_stale
                self._take_price(desk, price)
                if was_stale and not desk.is_stale:
                    desk.is_urgent = True
                    fresh.append(desk)
                self._attend(desk)
        if fresh:
            self._show_stale()
            back = [desk.symbol for desk in fresh if desk.was_pulled]
            if back:
                log.info("house_quotes_back", symbols=back)

    def orders_changed(self, records: Iterable[OrderRecord]) -> None:
        """Take note of orders of the house that changed in a batch."""
        for record in records:
            desk = self._desks.get(record.symbol)
            if desk is None:
                continue
            if record.status in OPEN_STATUSES:
                desk.orders[record.order_id] = record
                continue
            desk.orders.pop(record.order_id, None)
            if record.status == ORDER_EXPIRED or (record.status == ORDER_CANCELED and not desk.in_flight):
                # Not our doing; what filled one is told by `hit`.
                desk.is_due = True
                self._attend(desk)

    def hit(self, symbol: str) -> None:
        """Take note that somebody traded with a quote: show again what was taken, at once.

        What is taken from a recorded book is there again with its next update.
        """
        desk = self._desks.get(symbol)
        if desk is not None and not desk.shows_recorded:
            desk.is_due = desk.is_urgent = True
            self._attend(desk)

    def _take_price(self, desk: _Desk, price: FeedPrice) -> None:
        """Take a price, unless it comes after a newer one or is stale already: quotes never go back in time."""
        now_ns = self._clock.now_ns()
        priced_ns = min(price.ts_ns, now_ns)
        stale_ns = priced_ns + self._config.house_stale_after_ns
        if priced_ns < desk.priced_ns or stale_ns <= now_ns:
            return
        desk.price = desk.pricing.bid_ask(price.bid_ticks, price.ask_ticks)
        desk.priced_ns = priced_ns
        desk.is_stale = False
        desk.is_due = True
        self._alarm.ring_by(stale_ns)

    def _ring(self) -> None:
        """Pull what has become stale, and do what was put off."""
        pulled = []
        now_ns = self._clock.now_ns()
        for desk in self._desks.values():
            if desk.pricing.feed is not None and not desk.is_stale:
                stale_ns = desk.priced_ns + self._config.house_stale_after_ns
                if stale_ns > now_ns:
                    self._alarm.ring_by(stale_ns)
                else:
                    desk.is_stale = desk.is_due = desk.is_urgent = True
                    if desk.is_missing:
                        desk.was_pulled = True
                        pulled.append(desk.symbol)
                        self._metrics.pulls.inc(1, desk.symbol)
            self._attend(desk)
        if pulled:
            log.warning("house_quotes_pulled", symbols=pulled, reason="no fresh price")
            self._show_stale()

    def _show_stale(self) -> None:
        self._metrics.stale.set(sum(desk.is_missing for desk in self._desks.values()))

    # What the house does

    def _attend(self, desk: _Desk) -> None:
        """Refresh an instrument if it needs it, now or as soon as it may."""
        if not self._running or desk.in_flight or not desk.is_due:
            return
        now_ns = self._clock.now_ns()
        if desk.refreshed_ns is not None and not desk.is_urgent:
            # Counted on the clock, not from the last refresh: prices of the same rhythm are then followed at once.
            interval_ns = self._config.house_refresh_interval_ns
            if desk.shows_recorded:
                interval_ns = min(interval_ns, BOOK_INTERVAL_NS)
            allowed_ns = (desk.refreshed_ns // interval_ns + 1) * interval_ns
            if now_ns < allowed_ns:
                self._alarm.ring_by(allowed_ns)
                return
        desk.is_due = desk.is_urgent = False
        rows = self._changes(desk)
        if rows:
            desk.refreshed_ns = now_ns
            self._send(desk, rows)

    def _send(self, desk: _Desk, rows: list[Row]) -> None:
        desk.in_flight = True
        try:
            self._submit(_joined(rows), lambda outcome: self._over(desk, outcome))
        except Unavailable as exc:
            self._over(desk, exc)
            return
        self._metrics.refreshes.inc(1, desk.symbol)

    def _over(self, desk: _Desk, outcome: Sequence[list[int]] | Exception) -> None:
        """Take note of what came of a refresh, and do what was asked for meanwhile."""
        desk.in_flight = False
        if isinstance(outcome, Exception):
            # Whether it was stored is told by the orders. It is tried again after the interval, not at once.
            desk.reference_ticks = None
            desk.is_due, desk.is_urgent = True, False
            self._metrics.refusals.inc(1, "unavailable")
        else:
            self._look_for_refusals(desk, outcome)
        self._attend(desk)

    def _look_for_refusals(self, desk: _Desk, events: Sequence[list[int]]) -> None:
        reasons = [
            event[E_REASON] for event in events if event[E_KIND] in (EVENT_COMMAND_REJECTED, EVENT_ORDER_REJECTED)
        ]
        # An order that was filled on the way is no trouble: the fill has been told, and is made good.
        troubles = frozenset(reasons) - {REASON_ORDER_FINISHED}
        for reason in reasons:
            self._metrics.refusals.inc(1, RejectReason(reason).name.lower())
        for reason in sorted(troubles - desk.refused):
            log.warning("house_refused", symbol=desk.symbol, reason=RejectReason(reason).name.lower())
        desk.refused = troubles

    def _changes(self, desk: _Desk) -> list[Row]:
        """Return the commands that turn what the house has in an instrument into what it wants."""
        if desk.is_stale or desk.price is None:
            return [row_of(cancel_all(HOUSE_ACCOUNT, desk.listing.number))] if desk.orders else []
        if desk.listing.status != INSTRUMENT_OPEN:
            # Nothing can be entered, and nobody can trade with what is there.
            return []
        bid_ticks, ask_ticks = desk.price
        rows: list[Row] = []
        mid_ticks = (bid_ticks + ask_ticks) // 2
        if reference_moved(desk.listing, desk.reference_ticks, mid_ticks):
            desk.reference_ticks = mid_ticks
            rows.append(row_of(set_reference_price(desk.listing.number, mid_ticks)))
        return rows + self._moves(desk, self._desired(desk, bid_ticks, ask_ticks))

    def _desired(self, desk: _Desk, bid_ticks: int, ask_ticks: int) -> Sequence[Level]:
        if self._books is None or not desk.shows_recorded:
            price = bid_ticks, ask_ticks
            if desk.plan.distance:
                # What stands back need not follow every move.
                if desk.quoted is None or not still_stands_back(desk.plan, desk.quoted, price):
                    desk.quoted = price
                price = desk.quoted
            return desired_levels(desk.listing, desk.plan, *price)
        count = self._config.recorded_book_levels
        if desk.listing.max_open_orders:
            count = min(count, desk.listing.max_open_orders // 2)
        shown = self._books.levels(desk.symbol, desk.priced_ns, count)
        lot_ratio = Fraction(shown.instrument.lot_size) / Fraction(desk.listing.instrument.lot_size)
        return recorded_levels(desk.listing, desk.plan, (desk.pricing.ratio, lot_ratio), shown.bids, shown.asks)

    def _moves(self, desk: _Desk, desired: Sequence[Level]) -> list[Row]:
        cancels: list[Row] = []
        moves: dict[int, list[Row]] = {}
        for side in (SIDE_BUY, SIDE_SELL):
            wanted = [level for level in desired if level.side == side]
            resting = [record for record in desk.orders.values() if record.side == side]
            surplus, moves[side] = _differences(desk.listing, wanted, resting)
            cancels += surplus
        resting_bids = [record.price_ticks for record in desk.orders.values() if record.side == SIDE_BUY]
        if asks_move_first(desired, resting_bids):
            return cancels + moves[SIDE_SELL] + moves[SIDE_BUY]
        return cancels + moves[SIDE_BUY] + moves[SIDE_SELL]


def _differences(
    listing: Listing, wanted: Sequence[Level], resting: Iterable[OrderRecord]
) -> tuple[list[Row], list[Row]]:
    """Return the cancels and the other commands that make one side what is wanted."""
    missing = {(level.price_ticks, level.lots): level for level in wanted}
    in_turn = sorted(resting, key=lambda record: record.order_id)
    spare = [record for record in in_turn if missing.pop((record.price_ticks, record.leaves_lots), None) is None]
    # The best of them become the best that are missing.
    spare.sort(key=lambda record: -record.price_ticks if record.side == SIDE_BUY else record.price_ticks)
    levels = list(missing.values())
    moves = [_move(listing, record, level) for record, level in zip(spare, levels, strict=False)]
    moves += [_place(listing, level) for level in levels[len(spare) :]]
    return [cancel_row(HOUSE_ACCOUNT, record.order_id) for record in spare[len(levels) :]], moves


def _place(listing: Listing, level: Level) -> Row:
    row = _row(COMMAND_PLACE, level)
    row[C_INSTRUMENT] = listing.number
    row[C_SIDE] = level.side
    row[C_ORDER_TYPE] = TYPE_LIMIT
    row[C_SELF_TRADE_PREVENTION] = STP_EXPIRE_MAKER
    return row


def _move(listing: Listing, record: OrderRecord, level: Level) -> Row:
    if record.cum_quote >= RENEW_AT_QUOTE:
        row = _place(listing, level)
        row[C_KIND] = COMMAND_CANCEL_REPLACE
    else:
        row = _row(COMMAND_REPLACE_IN_PLACE, level)
    row[C_ORDER_ID] = record.order_id
    return row


def _row(kind: int, level: Level) -> Row:
    # As a list, because a refresh has many and NumPy takes its time with each.
    row = [0] * COMMAND_WIDTH
    row[C_KIND] = kind
    row[C_ACCOUNT] = HOUSE_ACCOUNT
    row[C_PRICE_TICKS] = level.price_ticks
    row[C_ORDER_LOTS] = level.lots
    return row


def _joined(rows: list[Row]) -> Rows:
    return as_rows(np.array(rows, dtype=np.int64))


def _ignore(outcome: Sequence[list[int]] | Exception) -> None:
    """Take no interest in what came of it."""
