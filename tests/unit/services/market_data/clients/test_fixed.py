from decimal import Decimal

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.services.market_data.clients.fixed import FixedRow, FixedSource
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY

BTC = Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.001"))
ETH = Instrument(symbol="ETH/USD", tick_size=Decimal("0.5"), lot_size=Decimal("0.01"))

TABLE = """
    offset  symbol   bid     ask     mid     last    volume
    0s      BTC/USD  100.00  100.03  -       -       -
    0s      ETH/USD  -       -       10.25   10.5    0.5
    250ms   BTC/USD  100.01  100.02  -       100.02  0.001
    1s      BTC/USD  -       -       100     -       -
"""


async def test_a_table_becomes_rows_in_ticks() -> None:
    source = FixedSource.from_table(TABLE, [BTC, ETH])
    await source.open(NS_PER_S)

    batch = await source.next(10)

    assert batch is not None
    assert batch.ts_ns.tolist() == [NS_PER_S, NS_PER_S, NS_PER_S + 250 * NS_PER_MS, 2 * NS_PER_S]
    assert batch.symbol_index.tolist() == [0, 1, 0, 0]
    assert batch.mid_half_ticks.tolist() == [20003, 41, 20003, 20000]
    assert batch.spread_ticks.tolist() == [3, SPREAD_BY_POLICY, 1, SPREAD_BY_POLICY]
    assert batch.last_ticks.tolist() == [NO_LAST, 21, 10002, NO_LAST]
    assert batch.volume_lots.tolist() == [0, 50, 1, 0]
    assert await source.next(10) is None


async def test_rows_of_one_moment_are_one_step() -> None:
    source = FixedSource.from_table(TABLE, [BTC, ETH])
    await source.open(0)

    sizes = [len(batch) for _ in range(3) if (batch := await source.next(1)) is not None]

    assert sizes == [2, 1, 1]


async def test_a_restored_source_goes_on_in_its_own_time() -> None:
    first, second = FixedSource.from_table(TABLE, [BTC, ETH]), FixedSource.from_table(TABLE, [BTC, ETH])
    await first.open(1000)
    await first.next(2)

    assert second.restore(first.state() or {})
    await second.open(999_999)
    batch = await second.next(5)

    assert batch is not None
    assert batch.ts_ns.tolist() == [1000 + NS_PER_S]
    assert not FixedSource([BTC], []).restore(first.state() or {})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (FixedRow(offset_ns=0, symbol="XRP/USD", mid="1"), "row 1: XRP/USD is none of the symbols"),
        (FixedRow(offset_ns=-1, symbol="BTC/USD", mid="1"), "row 1: time goes back"),
        (FixedRow(offset_ns=0, symbol="BTC/USD", bid="1"), "row 1: give a mid, or both a bid and an ask"),
        (FixedRow(offset_ns=0, symbol="BTC/USD", bid="2", ask="1"), "row 1: bid 2 and ask 1 are crossed"),
        (FixedRow(offset_ns=0, symbol="BTC/USD", bid="1.001", ask="2"), "row 1: bid 1.001 is not a multiple of 0.01"),
        (FixedRow(offset_ns=0, symbol="BTC/USD", mid="0"), "row 1: prices are positive"),
        (FixedRow(offset_ns=0, symbol="BTC/USD", mid="1", volume="-1"), "row 1: prices are positive, and volumes not"),
    ],
)
def test_a_bad_row_is_refused(row: FixedRow, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FixedSource([BTC], [row])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names its columns"),
        ("offset symbol colour", "line 1: a fixed path has the columns"),
        ("symbol bid ask", "line 1: a fixed path has the columns"),
        ("offset symbol mid\n0s BTC/USD", "line 2: expected 3 cells"),
        ("offset symbol mid\nsoon BTC/USD 1", "line 2: 'soon' is not a duration"),
        ("offset symbol mid\n0s BTC/USD abc", "row 1: .* is not a number"),
    ],
)
def test_a_bad_table_is_refused_by_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FixedSource.from_table(text, [BTC])
