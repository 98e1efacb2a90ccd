"""Events of background traders are sorted by whom they concern."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.layout import (
    E_ACCOUNT,
    E_ASSET,
    E_DELTA_FREE,
    E_INSTRUMENT,
    E_KIND,
    E_LOTS,
    E_MAKER_ACCOUNT,
    E_PRICE_TICKS,
    E_SIDE,
    EVENT_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.vocabulary import (
    EVENT_BALANCE,
    EVENT_BOOK,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_CANCELED,
    EVENT_TRADE,
    FEE_ACCOUNT,
)
from fauxchange.services.exchange.service.background import BackgroundAccounts, Survey

MAKER, TAKER, USER, LATER = 4, 5, 3, 90
NOBODY = -1


def event(kind: int, account: int, **columns: int) -> list[int]:
    row = [0] * EVENT_WIDTH
    row[E_KIND], row[E_ACCOUNT] = kind, account
    names = {"maker": E_MAKER_ACCOUNT, "asset": E_ASSET, "delta": E_DELTA_FREE, "lots": E_LOTS}
    for name, value in columns.items():
        row[names[name]] = value
    return row


def shown(instrument: int, side: int, price: int, lots: int) -> list[int]:
    row = event(EVENT_BOOK, NOBODY)
    row[E_INSTRUMENT], row[E_SIDE], row[E_PRICE_TICKS], row[E_LOTS] = instrument, side, price, lots
    return row


@pytest.fixture(params=[interpreted, compile_kernel], ids=["plain", "compiled"])
def survey(request: pytest.FixtureRequest) -> Survey:
    compiler: Callable[[Any], Any] = request.param
    if compiler is compile_kernel and not numba_available():
        pytest.skip("Numba is not there")
    accounts = BackgroundAccounts()
    accounts.restore([MAKER, TAKER])
    return Survey(accounts, compiler)


def matrix(*rows: list[int]) -> Int64Array:
    return np.array(rows, dtype=np.int64).reshape(-1, EVENT_WIDTH)


def test_among_themselves_only_trades_are_followed_and_fees_are_summed_up(survey: Survey) -> None:
    trade = event(EVENT_TRADE, TAKER, maker=MAKER, lots=7)
    seen = survey.of(
        matrix(
            event(EVENT_ORDER_ACCEPTED, MAKER),
            shown(2, 1, 100, 9),
            trade,
            event(EVENT_BALANCE, TAKER, asset=1, delta=-3),
            event(EVENT_BALANCE, FEE_ACCOUNT, asset=1, delta=3),
            event(EVENT_ORDER_CANCELED, MAKER),
        )
    )

    assert not len(seen.told)
    assert seen.followed == [trade]
    assert seen.fees == [[1, 3]]
    assert list(seen.shown) == [(2, 1, 100, 9)]


@pytest.mark.parametrize("other", [USER, LATER, 1])
def test_what_happens_to_others_is_told_and_their_fees_keep_their_places(survey: Survey, other: int) -> None:
    rows = matrix(
        event(EVENT_TRADE, TAKER, maker=other),
        event(EVENT_BALANCE, other, asset=1, delta=5),
        event(EVENT_BALANCE, FEE_ACCOUNT, asset=1, delta=3),
        event(EVENT_BALANCE, MAKER, asset=1, delta=5),
        event(EVENT_ORDER_CANCELED, other),
    )

    seen = survey.of(rows)

    assert seen.told.tolist() == rows[[0, 1, 4]].tolist()
    assert seen.followed == rows[[0, 1, 2, 4]].tolist()
    assert not seen.fees


def test_no_events_are_nothing(survey: Survey) -> None:
    seen = survey.of(matrix())

    assert (len(seen.told), seen.followed, seen.fees, list(seen.shown)) == (0, [], [], [])
