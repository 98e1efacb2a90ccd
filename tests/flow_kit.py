"""A headless venue for tests of the order flow: one or more markets in plain Python, whose prices the test decides."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import interpreted, stamp
from fauxchange.services.exchange.core.flow import BUSY, SLICE_NS, FlowInstrument, Intensity, OrderFlow
from fauxchange.services.exchange.core.layout import COMMAND, H_SEQUENCE, H_TS_NS, Int64Array, Rows, words
from fauxchange.services.exchange.core.state import balances, levels
from fauxchange.services.exchange.service.headless import Anchors, headless_engine, run_headless

START_NS = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
PRICE = 6_000_000
DAY_LOTS = 830_000_000.0
SYMBOLS = ("BTC/USD", "ETH/USD")


class Market:
    """The order flow in a kernel; time passes with `run`, at a price that stands still unless it is told otherwise."""

    def __init__(
        self,
        *,
        seed: int = 1,
        symbols: Sequence[str] = SYMBOLS[:1],
        flowing: Sequence[str] | None = None,
        intensity: Intensity = BUSY,
        slice_ns: int = SLICE_NS,
        compiler: Callable[[Any], Any] = interpreted,
        **limits: int,
    ) -> None:
        quote = Asset(number=len(symbols), name="USD")
        self.listings = [
            Listing(
                number=number,
                instrument=Instrument(symbol=symbol, tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")),
                base=Asset(number=number, name=symbol.split("/")[0]),
                quote=quote,
                **limits,
            )
            for number, symbol in enumerate(symbols)
        ]
        self.engine, self.accounts = headless_engine(self.listings, strangers=1, compiler=compiler)
        self.stranger = self.accounts.takers[-1] + 1
        self.flow = OrderFlow(
            [
                FlowInstrument(number=each.number, symbol=each.symbol, day_lots=DAY_LOTS)
                for each in self.listings
                if flowing is None or each.symbol in flowing
            ],
            self.accounts,
            seed=seed,
            intensity=intensity,
            slice_ns=slice_ns,
            compiler=compiler,
        )
        self.now_ns = START_NS
        self.commands: list[Int64Array] = []
        self.events: list[Int64Array] = []
        self.rejected = 0

    def run(self, seconds: float, prices: Sequence[int] = (PRICE,)) -> "Market":
        """Let time pass; the prices come one a second, and the last of them stays."""
        ns = round(seconds * SECOND)
        count = len(self.flow.instruments)
        bids = np.repeat(np.array(prices, dtype=np.int64)[:, None], count, axis=1)
        anchors = Anchors(
            ts_ns=self.now_ns + SECOND * np.arange(len(prices), dtype=np.int64), bid_ticks=bids, ask_ticks=bids + 1
        )
        self.rejected += run_headless(
            self.flow, self.engine, anchors, from_ns=self.now_ns, to_ns=self.now_ns + ns, observer=self._saw
        ).rejected
        self.now_ns += ns
        return self

    def _saw(self, commands: Int64Array, events: Int64Array) -> None:
        self.commands.append(commands.copy())
        self.events.append(events.copy())

    def order(
        self, side: int, lots: int, price_ticks: int, *, instrument: int = 0, time_in_force: int = 1
    ) -> Int64Array:
        """Let the stranger place an order (IOC unless told otherwise); return its events."""
        row = ask.place(
            self.stranger, instrument, side, order_lots=lots, price_ticks=price_ticks, time_in_force=time_in_force
        )
        return self.carry_out(row)

    def carry_out(self, *rows: Rows) -> Int64Array:
        """Carry out commands that are not the flow's, which hears of them."""
        memory = self.engine.state.memory
        ts_ns = max(self.now_ns, int(memory[H_TS_NS]))
        commands = stamp(rows, first_sequence=int(memory[H_SEQUENCE]) + 1, ts_ns=ts_ns)
        events = words(self.engine.apply(commands))
        self.flow.heard(words(commands), events)
        return events

    def cancel_all(self) -> None:
        """Carry out what the flow gives to pull its orders."""
        self.carry_out(self.flow.pull().view(COMMAND).reshape(-1))

    def best(self, instrument: int = 0) -> tuple[int, int]:
        """The best bid and ask. Units: ticks"""
        bids, asks = (levels(self.engine.state, instrument, side) for side in (0, 1))
        return int(bids["price_ticks"][-1]), int(asks["price_ticks"][0])

    def mid(self, instrument: int = 0) -> float:
        """The middle of the book. Units: ticks"""
        return sum(self.best(instrument)) / 2

    def depth(self, side: int, bps: float = 10.0) -> int:
        """The lots of a side within a distance of the middle."""
        book = levels(self.engine.state, 0, side)
        near = np.abs(book["price_ticks"] - self.mid()) <= self.mid() * bps / 10_000
        return int(book["shown_lots"][near].sum())

    def said(self) -> Int64Array:
        """All commands of the flow so far. Shapes: (n, COMMAND_WIDTH)"""
        return np.concatenate(self.commands)

    def happened(self) -> Int64Array:
        """All events of the flow's commands so far. Shapes: (n, EVENT_WIDTH)"""
        return np.concatenate(self.events)

    def sums(self) -> list[int]:
        """What all accounts have of each asset, free and held: conservation makes each 0."""
        return [int(total) for total in balances(self.engine.state).sum(axis=(0, 2))]
