"""Statistics of books, against values computed by hand or known of a law."""

import numpy as np
import pytest

from fauxchange.domain.arithmetic import units
from fauxchange.domain.chance import WordStream
from fauxchange.domain.times import NS_PER_S
from fauxchange.realism.book.statistics import (
    STATISTICS,
    arrival_statistics,
    autocorrelation,
    book_statistics,
    depth_statistics,
    mean_response,
    mid_statistics,
    responses_by_size,
    sign_statistics,
    size_statistics,
    spread_statistics,
)
from fauxchange.realism.book.tape import BookTape, Orders

S = NS_PER_S


def tape_of(
    quotes: list[tuple[int, int, int, int, int]], end_ns: int, trades: list[tuple[int, int, int]] | None = None
) -> BookTape:
    """Return a tape of quotes (time, bid, lots, ask, lots) and trades (time, lots, sign), each an order of its own."""
    quoted = np.array(quotes, dtype=np.int64).reshape(-1, 5)
    traded = np.array(trades or [], dtype=np.int64).reshape(-1, 3)
    return BookTape(
        name="made",
        tick_size=1.0,
        lot_size=1.0,
        start_ns=0,
        end_ns=end_ns,
        trade_ns=traded[:, 0],
        trade_ticks=np.full(len(traded), 100, dtype=np.int64),
        trade_lots=traded[:, 1],
        trade_sign=traded[:, 2],
        trade_order=np.arange(len(traded)),
        quote_ns=quoted[:, 0],
        bid_ticks=quoted[:, 1],
        bid_lots=quoted[:, 2],
        ask_ticks=quoted[:, 3],
        ask_lots=quoted[:, 4],
    )


def chances(count: int, purpose: str) -> np.ndarray:
    return units(WordStream(1, "book", purpose).words(0, count))


def test_spreads_count_by_quotes_and_by_time() -> None:
    tape = tape_of([(0, 99, 1, 100, 1), (6 * S, 99, 1, 101, 1), (8 * S, 99, 1, 100, 1)], 10 * S)

    found = spread_statistics(tape)

    assert found["spread_one_tick"] == pytest.approx(2 / 3)
    assert found["spread_one_tick_time"] == pytest.approx(0.8)


def test_depth_is_told_as_shares_of_all_within_ten_basis_points() -> None:
    depth = np.array([[1.0, 2.0, 3.0, 4.0, 8.0], [1.0, 2.0, 5.0, 8.0, 12.0], [np.nan] * 5])

    assert depth_statistics(depth) == {"depth_0.1bps": 0.1, "depth_1bps": 0.4, "depth_3bps": 0.6}


def test_even_arrivals_have_neither_spread_nor_clusters() -> None:
    orders = Orders(np.arange(0, 100 * S, S // 2), np.ones(200, dtype=np.int64), np.ones(200, dtype=np.int64))

    found = arrival_statistics(orders, tape_of([], 100 * S))

    assert found == {"interval_cv": 0.0, "count_fano": 0.0}


def test_arrivals_of_a_poisson_process_have_both_at_one() -> None:
    waits = -np.log(chances(20_000, "waits")) * S / 10
    times = np.cumsum(waits).astype(np.int64)
    orders = Orders(times, np.ones_like(times), np.ones_like(times))

    found = arrival_statistics(orders, tape_of([], int(times[-1]) + 1))

    assert found["interval_cv"] == pytest.approx(1.0, abs=0.03)
    assert found["count_fano"] == pytest.approx(1.0, abs=0.1)


def test_signs_in_runs_remember_for_as_long_as_the_runs_are() -> None:
    sign = np.tile(np.repeat([1, -1], 4), 500)

    found = sign_statistics(sign)

    # Of eight orders, one lag on, two pairs differ at the seams: (6 - 2) / 8.
    assert found["sign_acf_1"] == pytest.approx(0.5, abs=0.01)
    assert found["sign_acf_5"] == pytest.approx(-0.5, abs=0.01)


def test_signs_of_a_coin_remember_nothing() -> None:
    sign = np.where(chances(20_000, "signs") < 0.5, 1, -1)

    found = sign_statistics(sign)

    assert abs(found["sign_acf_1"]) < 0.03
    assert abs(found["sign_acf_20"]) < 0.03


def test_the_tail_of_a_pareto_law_has_its_index() -> None:
    lots = (100 * (1 - (np.arange(100_000) + 0.5) / 100_000) ** (-1 / 1.3)).astype(np.int64)

    found = size_statistics(lots)

    assert found["size_hill"] == pytest.approx(1.3, rel=0.03)
    assert found["size_p99_median"] == pytest.approx(50 ** (1 / 1.3), rel=0.02)


def test_a_mid_that_moves_up_when_bids_are_thicker_is_foretold() -> None:
    quotes = []
    price = 1_000
    for second in range(60):
        up = second % 3 != 0
        quotes.append((second * S, price, 9 if up else 1, price + 2, 1 if up else 9))
        price += 5 if up else -5
    tape = tape_of(quotes, 60 * S)

    found = mid_statistics(tape)

    assert found["imbalance_corr"] == pytest.approx(1.0, abs=0.01)
    assert found["mid_zero_1s"] == 0.0


def test_a_mid_that_rests_but_for_one_jump_has_the_kurtosis_of_one_jump() -> None:
    tape = tape_of([(0, 1_000, 1, 1_002, 1), (50 * S, 1_100, 1, 1_102, 1)], 101 * S)

    found = mid_statistics(tape)

    # One of a hundred: (1 - 3 p (1 - p)) / (p (1 - p)) - 3 with p = 0.01.
    assert found["mid_zero_1s"] == pytest.approx(0.99)
    assert found["mid_kurt_1s"] == pytest.approx((1 - 3 * 0.0099) / 0.0099 - 3, rel=1e-6)


def test_the_response_is_the_signed_move_after_an_order() -> None:
    quotes = [(0, 9_999, 1, 10_001, 1), (2 * S, 10_000, 1, 10_002, 1), (5 * S, 9_998, 1, 10_000, 1)]
    tape = tape_of(quotes, 10 * S, [(2 * S, 1, 1), (5 * S, 4, -1)])

    found = mean_response(tape, tape.orders(), S)

    assert found == pytest.approx((1 / 10_000 + 2 / 10_001) / 2 * 10_000)


def test_the_responses_grow_by_size_as_they_were_made() -> None:
    quotes, trades = [(0, 100_000, 1, 100_002, 1)], []
    price = 100_000
    for at in range(1, 401):
        lots = at
        move = 1 + 10 * (lots > 350)
        price += move
        quotes.append((at * 10 * S, price, 1, price + 2, 1))
        trades.append((at * 10 * S, lots, 1))
    tape = tape_of(quotes, 4_010 * S, trades)

    sizes, responses = responses_by_size(tape, tape.orders(), S)

    assert len(sizes) == len(responses) == 4
    assert responses[0] == pytest.approx(0.1, rel=0.05)
    assert responses[-1] == pytest.approx(1.1, rel=0.05)


def test_a_constant_has_no_autocorrelation() -> None:
    assert np.isnan(autocorrelation(np.ones(10), 1))


def test_an_empty_tape_has_no_statistics_and_raises_nothing() -> None:
    found = book_statistics(tape_of([], 10 * S))

    assert set(found) == {statistic.name for statistic in STATISTICS}
    assert found["orders_per_s"] == 0.0
    assert np.isnan(found["sign_acf_1"])
    assert np.isnan(found["spread_one_tick"])
