"""Protobuf that is put together by hand is what the library would have made."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.instruments import MAX_INT64, Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.order_columns import ORDER_COLUMNS, RestingOrders

T0_NS = 1_769_860_800_123_456_789
SYMBOLS = ("BTC/USD", "ETH/EUR")
LISTINGS = {
    "BTC/USD": Listing(
        number=0,
        instrument=Instrument(symbol="BTC/USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.00001")),
        base=Asset(number=0, name="BTC"),
        quote=Asset(number=1, name="USD"),
    ),
    "ETH/EUR": Listing(
        number=1,
        instrument=Instrument(symbol="ETH/EUR", tick_size=Decimal(5), lot_size=Decimal("0.00000001")),
        base=Asset(number=2, name="ETH"),
        quote=Asset(number=3, name="EUR"),
    ),
}

counts = st.integers(1, MAX_INT64)
rows = st.fixed_dictionaries(
    {
        "account": st.integers(1, 2) | counts,
        "instrument": st.integers(0, 1),
        "side": st.integers(0, 1),
        "order_type": st.just(1),
        "time_in_force": st.just(0),
        "post_only": st.integers(0, 1),
        "self_trade_prevention": st.integers(0, 3),
        "price_ticks": counts,
        "order_lots": counts,
        "ts_ns": st.integers(T0_NS, T0_NS + 3_000) | st.integers(0, 4 * T0_NS),
        "event_sequence": counts,
        "fingerprint": counts,
    }
)
names = st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,36}", fullmatch=True)
ids = st.text(st.characters(exclude_categories=("Cs",)), max_size=64)


def resting(first_order_id: int, orders: list[dict[str, int]], own_ids: list[str | None]) -> RestingOrders:
    numbers = [
        [{**order, "order_id": first_order_id + at}[column] for column in ORDER_COLUMNS]
        for at, order in enumerate(orders)
    ]
    return RestingOrders(np.array(numbers, dtype=np.int64), own_ids, SYMBOLS)


def result(orders: RestingOrders, order_id: int, command_id: str) -> pb.OrderStreamResponse:
    record = orders.record(order_id)
    told = proto.order(render.order_message(record, LISTINGS[record.symbol]))
    return pb.OrderStreamResponse(results=[pb.OrderStreamResult(id=command_id, order=told)])


@given(
    orders=st.lists(st.tuples(rows, names, ids), min_size=1, max_size=12),
    first_order_id=st.integers(1, MAX_INT64 - 12),
    data=st.data(),
)
def test_results_of_resting_orders_are_those_of_their_records(
    orders: list[tuple[dict[str, int], str | None, str]], first_order_id: int, data: st.DataObject
) -> None:
    kept = resting(first_order_id, [each[0] for each in orders], [each[1] for each in orders])
    begun = data.draw(st.integers(0, len(orders) - 1))
    command_ids = [each[2] for each in orders[begun : data.draw(st.integers(begun + 1, len(orders)))]]

    elements = proto.RestingResults(LISTINGS.__getitem__).elements(kept, begun, command_ids)

    assert [pb.OrderStreamResponse.FromString(element) for element in elements] == [
        result(kept, first_order_id + begun + at, command_id) for at, command_id in enumerate(command_ids)
    ]


def test_more_kinds_of_orders_than_are_remembered_are_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto, "MAX_KINDS", 3)
    same = dict.fromkeys(ORDER_COLUMNS, 1)
    kept = resting(7, [{**same, "account": 1 + at % 5} for at in range(20)], [None] * 20)
    command_ids = [str(number) for number in range(20)]
    results = proto.RestingResults(LISTINGS.__getitem__)

    elements = results.elements(kept, 0, command_ids)

    assert [pb.OrderStreamResponse.FromString(element) for element in elements] == [
        result(kept, 7 + at, command_id) for at, command_id in enumerate(command_ids)
    ]
    assert len(results._kinds) <= 3


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 16_383, 16_384, 70_000, 1 << 21])
@pytest.mark.parametrize(
    "field", [pb.Order.ORDER_ID_FIELD_NUMBER, pb.Order.SYMBOL_FIELD_NUMBER, pb.Order.DISPLAY_QUANTITY_FIELD_NUMBER]
)
def test_an_element_is_a_field_with_its_length(length: int, field: int) -> None:
    text = "x" * length

    written = proto.element(text.encode(), field)

    read = pb.Order.FromString(written)
    assert [(told.number, value) for told, value in read.ListFields()] == ([(field, text)] if text or field > 4 else [])
