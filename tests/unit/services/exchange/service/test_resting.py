"""Orders that rest are followed in columns, compiled and plain alike."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fauxchange.domain.order_columns import (
    L_ACCOUNT,
    L_ASSET,
    L_FREE,
    L_HELD,
    O_ACCOUNT,
    O_FINGERPRINT,
    O_ORDER_ID,
    O_ORDER_LOTS,
    O_PRICE_TICKS,
)
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.exchange.core.commands import (
    create_account,
    create_asset,
    create_instrument,
    deposit,
    place,
)
from fauxchange.services.exchange.core.engine import Engine, interpreted, join, stamp
from fauxchange.services.exchange.core.layout import Int64Array, words
from fauxchange.services.exchange.core.vocabulary import Side
from fauxchange.services.exchange.service.resting import Resting, warm_up

FIRST = 100


@pytest.fixture(params=[interpreted, compile_kernel], ids=["plain", "compiled"])
def compiler(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    chosen: Callable[[Any], Any] = request.param
    if chosen is compile_kernel and not numba_available():
        pytest.skip("Numba is not there")
    return chosen


def carried_out(*orders: tuple[int, Side, int, int]) -> tuple[Int64Array, Int64Array]:
    """Place orders (account, side, price, lots) of funded accounts 3 and 4; return commands and events."""
    engine = Engine()
    world = [create_asset(8), create_asset(2), *(create_account() for _ in range(5))]
    world.append(create_instrument(0, 1, tick_value=1, lot_value=1))
    world += [deposit(account, asset, 1_000_000) for account in (3, 4) for asset in (0, 1)]
    engine.run(stamp(world, first_sequence=1, ts_ns=5))
    placed = [place(account, 0, side, price_ticks=price, order_lots=lots) for account, side, price, lots in orders]
    commands = stamp([join(placed)], first_sequence=1 + len(world), ts_ns=6)
    count = engine.run(commands)
    return words(commands), words(engine.written(count)).copy()


def test_those_that_rest_are_told_from_those_that_trade_or_are_refused(compiler: Callable[[Any], Any]) -> None:
    commands, events = carried_out(
        (3, Side.BUY, 90, 5),
        (3, Side.SELL, 110, 5),
        (4, Side.BUY, 110, 2),
        (4, Side.BUY, 80, 5_000_000),
        (3, Side.BUY, 91, 1),
    )

    bounds, rests = Resting(compiler).find(events, int(commands[0, 0]), 5)

    assert rests.tolist() == [1, 1, 0, 0, 1]
    assert bounds[0] == 0
    assert bounds[-1] == len(events)
    assert [set(events[begun:end, 1].tolist()) for begun, end in itertools.pairwise(bounds)] == [
        {sequence} for sequence in commands[:, 0].tolist()
    ]


def test_numbers_postings_and_what_is_shown_are_written_down(compiler: Callable[[Any], Any]) -> None:
    commands, events = carried_out((3, Side.BUY, 90, 5), (4, Side.SELL, 110, 7), (3, Side.BUY, 90, 2))
    funds = {(3, 1): [1_000_000, 0], (4, 0): [1_000_000, 0]}

    orders, postings, shown = Resting(compiler).follow(
        commands, events, np.array([7, 0, 9]), lambda account, asset: funds[account, asset]
    )

    columns = [O_ORDER_ID, O_ACCOUNT, O_PRICE_TICKS, O_ORDER_LOTS, O_FINGERPRINT]
    assert orders[:, columns].tolist() == [[1, 3, 90, 5, 7], [2, 4, 110, 7, 0], [3, 3, 90, 2, 9]]
    assert postings[:, [L_ACCOUNT, L_ASSET, L_FREE, L_HELD]].tolist() == [
        [3, 1, 1_000_000 - 450, 450],
        [4, 0, 1_000_000 - 7, 7],
        [3, 1, 1_000_000 - 630, 630],
    ]
    assert funds == {(3, 1): [1_000_000 - 630, 630], (4, 0): [1_000_000 - 7, 7]}
    assert list(shown) == [(0, 0, 90, 5), (0, 1, 110, 7), (0, 0, 90, 7)]


def test_of_one_price_in_a_row_only_the_last_is_shown(compiler: Callable[[Any], Any]) -> None:
    commands, events = carried_out(*((3, Side.BUY, 90, lots) for lots in (5, 1, 2)))

    *_, shown = Resting(compiler).follow(commands, events, np.zeros(3, dtype=np.int64), lambda account, asset: [0, 0])

    assert list(shown) == [(0, 0, 90, 8)]


def test_it_can_be_compiled_ahead(compiler: Callable[[Any], Any]) -> None:
    warm_up(compiler)
