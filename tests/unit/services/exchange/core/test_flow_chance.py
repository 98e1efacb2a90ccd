"""The random numbers of a slice, and the sizes and signs that are made of them."""

import numpy as np
import pytest

from fauxchange.domain.chance import WordStream
from fauxchange.services.exchange.core.flow import habits
from fauxchange.services.exchange.core.flow.chance import CELLS, WORDS, draw, draw_from, log_normal_table, seeds
from fauxchange.services.exchange.core.flow.layout import N_RANDOM, NUMBERS, STATES, W_CANCELS, W_LIMITS
from fauxchange.services.exchange.core.flow.traders import draw_lots, next_taker_side
from fauxchange.services.exchange.core.layout import Int64Array


def numbers(seed: int = 12345) -> Int64Array:
    n = np.zeros(NUMBERS, dtype=np.int64)
    n[N_RANDOM : N_RANDOM + 6] = seed
    return n


def test_the_generator_gives_the_published_numbers() -> None:
    n = numbers()

    # Source: L'Ecuyer, Simard, Chen and Kelton (2002), the RngStreams package: its first numbers from its first seed.
    assert [draw(n) for _ in range(3)] == pytest.approx([0.127011122046577, 0.318527565396794, 0.309186015583270])


def test_words_make_seeds_that_the_generator_allows() -> None:
    words = WordStream(1, "BTC/USD", "order flow").words(0, 1_000 * WORDS).reshape(-1, WORDS)
    extreme = np.array([[0, 0, 0], [2**64 - 1] * 3], dtype=np.uint64)

    made = seeds(np.concatenate([words, extreme]))

    assert (made > 0).all()
    assert (made < [4294967087] * 3 + [4294944443] * 3).all()
    assert len(np.unique(made[:1_000], axis=0)) == 1_000


def test_a_table_gives_back_its_distribution() -> None:
    n, table = numbers(), log_normal_table(2.0)

    drawn = np.log([draw_from(n, table) for _ in range(20_000)])

    assert len(table) == CELLS + 1
    assert drawn.mean() == pytest.approx(0.0, abs=0.05)
    assert drawn.std() == pytest.approx(2.0, rel=0.03)


def test_sizes_have_a_heavy_tail_and_keep_to_the_limits() -> None:
    n, table = numbers(), log_normal_table(2.05)
    w = np.zeros(W_CANCELS, dtype=np.int64)
    w[W_LIMITS], w[W_LIMITS + 1] = 50, 10**7

    lots = np.array([draw_lots(n, w, 1_000.0, table, habits.TAKER_TAIL) for _ in range(20_000)])

    assert lots.min() == 50
    assert lots.max() <= 10**7
    # A little above the median of the body, half of which lies below, but none of the tail.
    assert np.median(lots) == pytest.approx(1_140, rel=0.1)
    assert 80 < np.quantile(lots, 0.99) / np.median(lots) < 450
    largest = np.sort(lots)[-200:]
    hill = 1 / np.log(largest[1:] / largest[0]).mean()
    assert 0.9 < hill < 2.2


def test_signs_have_a_long_memory() -> None:
    n, s = numbers(), np.zeros(STATES)

    signs = np.array([1 - 2 * next_taker_side(n, s, 0.0) for _ in range(40_000)])

    def memory(lag: int) -> float:
        return float(np.corrcoef(signs[:-lag], signs[lag:])[0, 1])

    assert abs(signs.mean()) < 0.1
    assert 0.15 < memory(1) < 0.5
    assert 0.04 < memory(5) < memory(1)
    assert 0.005 < memory(20) < memory(5)


def test_takers_lean_to_where_the_fair_price_is() -> None:
    def buyers(tilt: float) -> float:
        n, s = numbers(), np.zeros(STATES)
        return float(np.mean([next_taker_side(n, s, tilt) == 0 for _ in range(10_000)]))

    assert buyers(1.0) == pytest.approx(0.5 + habits.INFORMED, abs=0.05)
    assert buyers(-1.0) == pytest.approx(0.5 - habits.INFORMED, abs=0.05)
