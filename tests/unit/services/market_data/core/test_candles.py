"""Candles against a naive recount."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.intervals import INTERVALS_NS
from fauxchange.domain.market_data import Candle, half_even
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from fauxchange.services.market_data.core.candles import CandleBook

BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
START_NS = 1_700_000_000 * NS_PER_S

Price = tuple[int, int, int]
"""Milliseconds after the price before, half ticks, lots."""

# Steps from a fraction of a second to more than an hour, so that every interval is crossed, skipped and shared.
gaps_ms = st.one_of(st.integers(0, 900), st.integers(1_000, 90_000), st.integers(3_000_000, 5_000_000))
prices = st.lists(st.tuples(gaps_ms, st.integers(2, 2_000), st.integers(0, 50)), min_size=1, max_size=60)


def naive_candles(rows: list[tuple[int, int, int]], interval_ns: int, until_ns: int) -> list[tuple[object, ...]]:
    """Recount from scratch: group by interval, take first, highest, lowest, last and the sum."""
    groups: dict[int, list[tuple[int, int]]] = {}
    for ts_ns, half_ticks, lots in rows:
        groups.setdefault(ts_ns // interval_ns * interval_ns, []).append((half_even(half_ticks), lots))
    return [
        (
            open_ns,
            group[0][0],
            max(ticks for ticks, _ in group),
            min(ticks for ticks, _ in group),
            group[-1][0],
            sum(lots for _, lots in group),
        )
        for open_ns, group in sorted(groups.items())
        if open_ns + interval_ns <= until_ns
    ]


def shown(candle: Candle) -> tuple[object, ...]:
    return (
        candle.open_ns,
        candle.open_ticks,
        candle.high_ticks,
        candle.low_ticks,
        candle.close_ticks,
        candle.volume_lots,
    )


def timed(steps: list[Price]) -> list[tuple[int, int, int]]:
    rows, ts_ns = [], START_NS
    for gap_ms, half_ticks, lots in steps:
        ts_ns += gap_ms * NS_PER_MS
        rows.append((ts_ns, half_ticks, lots))
    return rows


@given(prices, st.booleans())
def test_closed_candles_of_every_interval_equal_a_naive_recount(steps: list[Price], with_timer: bool) -> None:
    rows = timed(steps)
    book, closed = CandleBook(BTC), []

    for ts_ns, half_ticks, lots in rows:
        if with_timer:
            # A timer that looks in between must change nothing but when a close is noticed.
            closed += book.close_until(ts_ns - 1)
        closed += book.close_until(ts_ns)
        book.add(ts_ns, half_ticks, lots)
    until_ns = rows[-1][0] + 2 * INTERVALS_NS["1d"]
    closed += book.close_until(until_ns)

    for interval_ns in INTERVALS_NS.values():
        made = [shown(candle) for candle in closed if candle.interval_ns == interval_ns]
        assert made == naive_candles(rows, interval_ns, until_ns)
    assert all(candle.closed for candle in closed)


@given(prices)
def test_open_candles_equal_a_naive_recount_at_every_price(steps: list[Price]) -> None:
    rows = timed(steps)
    book = CandleBook(BTC)

    for count, (ts_ns, half_ticks, lots) in enumerate(rows, start=1):
        book.close_until(ts_ns)
        book.add(ts_ns, half_ticks, lots)

        for interval_ns in INTERVALS_NS.values():
            current = book.current(interval_ns)
            assert current is not None
            assert shown(current) == naive_candles(rows[:count], interval_ns, 2**62)[-1]


@given(prices, st.data())
def test_a_restored_book_goes_on_as_if_nothing_had_happened(steps: list[Price], data: st.DataObject) -> None:
    rows = timed(steps)
    cut = data.draw(st.integers(0, len(rows)))
    whole, first = CandleBook(BTC), CandleBook(BTC)
    second = CandleBook(BTC)

    for ts_ns, half_ticks, lots in rows[:cut]:
        for book in (whole, first):
            book.close_until(ts_ns)
            book.add(ts_ns, half_ticks, lots)
    second.restore(first.state())
    closed: list[list[tuple[object, ...]]] = [[], []]
    for ts_ns, half_ticks, lots in rows[cut:]:
        for index, book in enumerate((whole, second)):
            closed[index] += [shown(candle) for candle in book.close_until(ts_ns)]
            book.add(ts_ns, half_ticks, lots)

    assert closed[0] == closed[1]
    assert whole.state() == second.state()


def test_candles_that_end_together_close_shortest_first() -> None:
    book = CandleBook(BTC)
    book.add(START_NS, 200, 1)

    closed = book.close_until(START_NS + 16 * NS_PER_MINUTE)

    assert [candle.interval for candle in closed] == ["1s", "1m", "5m", "15m"]


def test_a_mid_between_two_ticks_is_rounded_to_the_even_one() -> None:
    assert [half_even(half_ticks) for half_ticks in (2, 3, 4, 5, 6, 7)] == [1, 2, 2, 2, 3, 4]


def test_nothing_is_open_before_the_first_price() -> None:
    book = CandleBook(BTC)

    assert book.current(NS_PER_MINUTE) is None
    assert book.close_until(START_NS) == ()
    assert book.closing_ns is None
