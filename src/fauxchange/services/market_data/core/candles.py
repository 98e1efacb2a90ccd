"""Candles of every interval from one stream of prices.

Only the shortest candle is touched by a price; the longer ones are rolled up when a shorter one closes, because each
interval divides the next. What a longer candle looks like while it is open is put together when somebody asks.

A candle exists for an interval only if a price fell into it. It closes as soon as time reaches its end, whether that
is noticed by the next price or by a timer: both give the same candles.
"""

from collections.abc import Iterator, Sequence

from fauxchange.domain.errors import check
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.market_data import Candle, half_even

LADDER_NS = tuple(INTERVALS_NS.values())


class CandleBook:
    """The open candles of one instrument, one per interval.

    Units: prices come in as half ticks and are rounded half-even to ticks; volumes in lots; times in nanoseconds
    """

    __slots__ = ("_closing_ns", "_instrument", "_open")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        # What each rung knows of its open candle from closed candles of the rung below; the lowest knows all.
        self._open: list[Candle | None] = [None] * len(LADDER_NS)
        self._closing_ns: int | None = None

    @property
    def closing_ns(self) -> int | None:
        """When the next candle closes, or None while none is open."""
        return self._closing_ns

    def add(self, ts_ns: int, mid_half_ticks: int, volume_lots: int) -> None:
        """Take a price into the open candles; `close_until(ts_ns)` comes first."""
        ticks = half_even(mid_half_ticks)
        candle = self._open[0]
        if candle is None:
            self._open[0] = candle = self._new(0, ts_ns, ticks)
            self._closing_ns = candle.open_ns + LADDER_NS[0]
        elif ticks > candle.high_ticks:
            candle.high_ticks = ticks
        elif ticks < candle.low_ticks:
            candle.low_ticks = ticks
        candle.close_ticks = ticks
        candle.volume_lots += volume_lots

    def close_until(self, ts_ns: int) -> Sequence[Candle]:
        """Close every candle that ends at or before `ts_ns`; return them in order of end, shortest first."""
        if self._closing_ns is None or ts_ns < self._closing_ns:
            return ()
        closed: list[Candle] = []
        for rung in range(len(LADDER_NS)):
            candle = self._open[rung]
            if candle is None:
                continue
            if candle.close_ns > ts_ns:
                # A longer candle ends no earlier than a shorter one that lies in it.
                break
            candle.closed = True
            closed.append(candle)
            self._open[rung] = None
            if rung + 1 < len(LADDER_NS):
                self._roll_up(rung + 1, candle)
        self._closing_ns = self._next_closing_ns()
        return closed

    def current(self, interval_ns: int) -> Candle | None:
        """Return the open candle of an interval as it stands now (a copy), or None if no price fell into it yet."""
        rung = LADDER_NS.index(interval_ns)
        parts = [candle for candle in self._open[: rung + 1] if candle is not None]
        if not parts:
            return None
        # The longer the rung, the older what it knows.
        result = self._copy(parts[-1], interval_ns, parts[-1].open_ns - parts[-1].open_ns % interval_ns)
        for part in reversed(parts[:-1]):
            _absorb(result, part)
        return result

    def currents(self) -> Iterator[Candle]:
        """Yield the open candle of every interval that has one, shortest first."""
        for interval_ns in LADDER_NS:
            candle = self.current(interval_ns)
            if candle is not None:
                yield candle

    def state(self) -> list[list[int] | None]:
        """Return what `restore` needs, as plain numbers: one entry per interval, shortest first."""
        return [
            None
            if candle is None
            else [
                candle.open_ns,
                candle.open_ticks,
                candle.high_ticks,
                candle.low_ticks,
                candle.close_ticks,
                candle.volume_lots,
            ]
            for candle in self._open
        ]

    def restore(self, state: Sequence[Sequence[int] | None]) -> None:
        """Go on from `state` of a book of the same instrument."""
        check(len(state) == len(LADDER_NS), "a candle book's state has one entry per interval")
        self._open = [
            None if entry is None else self._restored(interval_ns, entry)
            for interval_ns, entry in zip(LADDER_NS, state, strict=True)
        ]
        self._closing_ns = self._next_closing_ns()

    def _restored(self, interval_ns: int, entry: Sequence[int]) -> Candle:
        open_ns, open_ticks, high_ticks, low_ticks, close_ticks, volume_lots = entry
        return Candle(
            self._instrument, interval_ns, open_ns, open_ticks, high_ticks, low_ticks, close_ticks, volume_lots, False
        )

    def _next_closing_ns(self) -> int | None:
        # Open candles lie within each other, so the shortest that is open ends first.
        for candle in self._open:
            if candle is not None:
                return candle.open_ns + candle.interval_ns
        return None

    def _roll_up(self, rung: int, part: Candle) -> None:
        candle = self._open[rung]
        interval_ns = LADDER_NS[rung]
        open_ns = part.open_ns - part.open_ns % interval_ns
        if candle is None:
            self._open[rung] = self._copy(part, interval_ns, open_ns)
        else:
            _absorb(candle, part)

    def _new(self, rung: int, ts_ns: int, ticks: int) -> Candle:
        interval_ns = LADDER_NS[rung]
        return Candle(self._instrument, interval_ns, ts_ns - ts_ns % interval_ns, ticks, ticks, ticks, ticks, 0, False)

    def _copy(self, part: Candle, interval_ns: int, open_ns: int) -> Candle:
        return Candle(
            instrument=self._instrument,
            interval_ns=interval_ns,
            open_ns=open_ns,
            open_ticks=part.open_ticks,
            high_ticks=part.high_ticks,
            low_ticks=part.low_ticks,
            close_ticks=part.close_ticks,
            volume_lots=part.volume_lots,
            closed=False,
        )


def _absorb(candle: Candle, later: Candle) -> None:
    candle.high_ticks = max(candle.high_ticks, later.high_ticks)
    candle.low_ticks = min(candle.low_ticks, later.low_ticks)
    candle.close_ticks = later.close_ticks
    candle.volume_lots += later.volume_lots
