"""A tape: what a walk over a book's changes notes, and how tapes are cut."""

import numpy as np
import pytest

from fauxchange.domain.times import NS_PER_S
from fauxchange.realism.book.tape import BookTape, walk

BID, ASK = 0, 1
S = NS_PER_S


def changes(*rows: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(rows, dtype=np.int64).T)


def test_a_walk_notes_every_new_best_once_both_sides_are_there() -> None:
    told = changes(
        (0, BID, 100, 5),
        (0, ASK, 102, 4),
        (1 * S, BID, 101, 1),
        (1 * S, BID, 99, 7),
        (2 * S, ASK, 102, 3),
        (3 * S, BID, 101, 0),
    )

    found = walk(told, np.arange(6), start_ns=0, end_ns=4 * S)

    assert found.quotes.tolist() == [
        [0, 100, 5, 102, 4],
        [1 * S, 101, 1, 102, 4],
        [2 * S, 101, 1, 102, 3],
        [3 * S, 100, 5, 102, 3],
    ]


def test_changes_of_one_step_are_looked_at_together() -> None:
    told = changes((0, BID, 100, 5), (0, ASK, 102, 4), (5, ASK, 102, 0), (5, ASK, 103, 9))

    found = walk(told, np.array([0, 0, 1, 1]), start_ns=0, end_ns=10)

    assert found.quotes[:, 3].tolist() == [102, 103]


def test_what_came_before_the_start_only_builds_the_book() -> None:
    told = changes((0, BID, 100, 5), (0, ASK, 102, 4), (7, ASK, 101, 1))

    found = walk(told, np.arange(3), start_ns=5, end_ns=10)

    assert found.quotes.tolist() == [[5, 100, 5, 102, 4], [7, 100, 5, 101, 1]]


def test_depth_is_the_mean_of_both_sides_within_each_distance_at_each_second() -> None:
    told = changes(
        (0, BID, 99_999, 2), (0, BID, 99_980, 10), (0, ASK, 100_001, 4), (0, ASK, 100_050, 6), (1 * S, ASK, 100_001, 8)
    )

    found = walk(told, np.array([0, 0, 0, 0, 1]), start_ns=0, end_ns=2 * S)

    # Distances of the mid: 0.1 bps, 2 bps and 5 bps.
    assert found.depth[0].tolist() == [3.0, 3.0, 3.0, 8.0, 11.0]
    assert found.depth[1].tolist() == [5.0, 5.0, 5.0, 10.0, 13.0]
    assert len(found.depth) == 2


def test_a_level_that_changes_often_within_a_tenth_of_a_second_counts_once() -> None:
    told = changes((0, BID, 1_000, 1), (0, ASK, 1_001, 1), (1, BID, 1_000, 2), (2, BID, 1_000, 3), (S, BID, 1_000, 4))

    found = walk(told, np.arange(5), start_ns=0, end_ns=2 * S)

    # Before there is a mid nothing is near it.
    assert found.level_changes == 2


@pytest.fixture
def tape() -> BookTape:
    return BookTape(
        name="made",
        tick_size=1.0,
        lot_size=1.0,
        start_ns=0,
        end_ns=10 * S,
        trade_ns=np.array([1, 1, 5, 8], dtype=np.int64) * S,
        trade_ticks=np.full(4, 100, dtype=np.int64),
        trade_lots=np.array([1, 2, 4, 8], dtype=np.int64),
        trade_sign=np.array([1, 1, -1, -1], dtype=np.int64),
        trade_order=np.array([0, 0, 1, 2], dtype=np.int64),
        quote_ns=np.array([0, 4, 7], dtype=np.int64) * S,
        bid_ticks=np.array([99, 100, 101], dtype=np.int64),
        bid_lots=np.array([1, 1, 1], dtype=np.int64),
        ask_ticks=np.array([101, 102, 103], dtype=np.int64),
        ask_lots=np.array([1, 1, 1], dtype=np.int64),
        depth=np.arange(10, dtype=np.float64)[:, None] * np.ones(5),
    )


def test_prints_of_one_taker_are_one_order(tape: BookTape) -> None:
    orders = tape.orders()

    assert orders.lots.tolist() == [3, 4, 8]
    assert orders.sign.tolist() == [1, -1, -1]
    assert orders.ns.tolist() == [1 * S, 5 * S, 8 * S]


def test_the_mid_at_a_moment_is_that_of_the_newest_quote(tape: BookTape) -> None:
    moments = np.array([-1, 0, 4 * S, 9 * S])

    assert np.array_equal(tape.mid_at(moments), [np.nan, 100.0, 101.0, 102.0], equal_nan=True)
    assert np.array_equal(tape.mid_at(moments, before=True), [np.nan, np.nan, 100.0, 102.0], equal_nan=True)


def test_a_part_begins_with_the_quote_that_stood_then(tape: BookTape) -> None:
    part = tape.part(5 * S, 8 * S)

    assert part.quote_ns.tolist() == [5 * S, 7 * S]
    assert part.bid_ticks.tolist() == [100, 101]
    assert part.trade_lots.tolist() == [4]
    assert part.depth is not None
    assert part.depth[:, 0].tolist() == [5.0, 6.0, 7.0]


def test_windows_are_equally_long_and_miss_nothing(tape: BookTape) -> None:
    windows = tape.windows(4 * S)

    assert [window.seconds for window in windows] == [5.0, 5.0]
    assert sum(len(window.trade_ns) for window in windows) == 4
