"""What every store of the exchange's read models promises."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from fauxchange.data.ports import AccountQuery, DataAdapter, FillQuery, LedgerQuery, OrderQuery, Projection
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.order_columns import LEDGER_COLUMNS, ORDER_COLUMNS, LedgerRows, RestingOrders
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord, TrailBlock
from fauxchange.domain.trail import GENESIS, OpenBlock, Records

OpenAgain = Callable[[], Awaitable[DataAdapter]]

NEW, PARTLY, FILLED, CANCELED = 0, 1, 2, 3
GREATEST, LEAST = 2**63 - 1, -(2**63)


def account(number: int, **changes: Any) -> AccountRecord:
    values = {"name": f"desk {number}", "tier": 1, "status": 0, "created_ns": number * 10, "updated_ns": number * 10}
    return AccountRecord(account=number, **(values | changes))


def key(name: str, **changes: Any) -> KeyRecord:
    values: dict[str, Any] = {"account": 1, "label": "bot", "encrypted_secret": "c2VjcmV0", "created_ns": 5}
    return KeyRecord(api_key=name, **(values | changes))


def order(order_id: int, **changes: Any) -> OrderRecord:
    values = {
        "account": 1,
        "symbol": "BTC/USD",
        "client_order_id": f"mine-{order_id}",
        "side": order_id % 2,
        "order_type": 1,
        "time_in_force": 0,
        "post_only": order_id % 2 == 0,
        "self_trade_prevention": 2,
        "price_ticks": 6_000_000,
        "stop_ticks": 0,
        "order_lots": 100,
        "display_lots": 10,
        "amount": 0,
        "expires_ns": 0,
        "status": NEW,
        "reason": 0,
        "cum_lots": 0,
        "leaves_lots": 100,
        "cum_quote": 0,
        "fee": 0,
        "triggered": False,
        "replaces": 0,
        "created_ns": order_id * 10,
        "updated_ns": order_id * 10 + 5,
        "event_sequence": order_id * 3,
        "fingerprint": 1,
    }
    return msgspec.convert({"order_id": order_id} | values | changes, OrderRecord)


def fill(trade_id: int, *, is_maker: bool = False, **changes: Any) -> FillRecord:
    values = {
        "order_id": trade_id,
        "account": 2 if is_maker else 1,
        "symbol": "BTC/USD",
        "client_order_id": None,
        "side": 0,
        "last_ticks": 6_000_000,
        "last_lots": 5,
        "fee": -3,
        "ts_ns": trade_id * 10,
        "sequence": trade_id,
    }
    return msgspec.convert({"trade_id": trade_id, "is_maker": is_maker} | values | changes, FillRecord)


def entry(event_sequence: int, asset: str = "USD", **changes: Any) -> LedgerEntry:
    values = {
        "sequence": event_sequence,
        "ts_ns": event_sequence * 10,
        "account": 1,
        "delta_free": -5,
        "delta_held": 5,
        "cause": 3,
        "order_id": 7,
        "free": 100,
        "held": 5,
    }
    return msgspec.convert({"event_sequence": event_sequence, "asset": asset} | values | changes, LedgerEntry)


def block(first: int, last: int) -> OpenBlock:
    """Return records of the trail, of two words and one event each."""
    count = last - first + 1
    notes = [f"note {sequence}".encode() for sequence in range(first, last + 1)]
    records = Records(bytes(range(count)) * 16, notes, bytes(range(8)) * count, range(count + 1))
    return OpenBlock(
        width=2,
        event_width=1,
        first_sequence=first,
        last_sequence=last,
        first_ns=first * 10,
        last_ns=last * 10,
        parts=[records],
    )


def chained(*blocks: OpenBlock) -> list[TrailBlock]:
    """Return the blocks as they are stored, from the beginning of the trail on."""
    last_hash, stored = GENESIS, []
    for each in blocks:
        stored.append(each.pack(last_hash))
        last_hash = bytes.fromhex(stored[-1].hash)
    return stored


def resting(first: int, count: int, symbols: Sequence[str] = ("BTC/USD", "ETH/USD"), **changes: int) -> RestingOrders:
    """Return orders of consecutive ids in columns; every third has no client order id."""
    values = {
        "order_type": 1,
        "self_trade_prevention": 2,
        "price_ticks": 6_000_000,
        "order_lots": 100,
        "fingerprint": 1,
    }
    numbers = np.zeros((count, len(ORDER_COLUMNS)), dtype=np.int64)
    for index, order_id in enumerate(range(first, first + count)):
        own = {"order_id": order_id, "account": 1 + order_id % 2, "instrument": order_id % len(symbols)}
        own |= {"side": order_id % 2, "post_only": order_id % 2, "ts_ns": order_id * 10, "event_sequence": order_id * 3}
        numbers[index] = [(values | own | changes).get(name, 0) for name in ORDER_COLUMNS]
    names = [None if order_id % 3 == 0 else f"mine-{order_id}" for order_id in range(first, first + count)]
    return RestingOrders(numbers, names, symbols)


def posted(first: int, count: int, assets: Sequence[str] = ("BTC", "USD"), **changes: int) -> LedgerRows:
    """Return postings of consecutive events in columns."""
    numbers = np.zeros((count, len(LEDGER_COLUMNS)), dtype=np.int64)
    for index, event_sequence in enumerate(range(first, first + count)):
        own = {"event_sequence": event_sequence, "account": 1 + event_sequence % 2, "order_id": event_sequence}
        own |= {"asset": event_sequence % len(assets), "delta_free": -5, "delta_held": 5, "cause": 3, "free": 100}
        numbers[index] = [(own | changes).get(name, index) for name in LEDGER_COLUMNS]
    return LedgerRows(numbers, assets)


async def orders_and_entries(adapter: DataAdapter) -> tuple[list[OrderRecord], list[list[LedgerEntry]]]:
    """Return all orders, and the ledger entries of the first two accounts, oldest first."""
    orders = (await adapter.exchange.orders(OrderQuery(oldest_first=True, limit=10_000))).items
    pages = [
        await adapter.exchange.ledger(LedgerQuery(account=number, oldest_first=True, limit=10_000)) for number in (1, 2)
    ]
    return list(orders), [list(page.items) for page in pages]


async def store(adapter: DataAdapter, **records: Any) -> None:
    await adapter.exchange.store(Projection(**({"sequence": 1, "document": {}} | records)))


async def order_ids(adapter: DataAdapter, **query: Any) -> list[int]:
    return [found.order_id for found in (await adapter.exchange.orders(OrderQuery(**query))).items]


async def fill_keys(adapter: DataAdapter, **query: Any) -> list[tuple[int, bool]]:
    return [(found.trade_id, found.is_maker) for found in (await adapter.exchange.fills(FillQuery(**query))).items]


async def entry_keys(adapter: DataAdapter, **query: Any) -> list[tuple[int, str]]:
    page = await adapter.exchange.ledger(LedgerQuery(**({"account": 1} | query)))
    return [(found.event_sequence, found.asset) for found in page.items]


async def walk(read: Any, query: Any) -> tuple[list[Any], int]:
    """Return all items of all pages, and how many pages there were."""
    items: list[Any] = []
    pages = 0
    while True:
        page = await read(query)
        items += page.items
        pages += 1
        if page.next_cursor is None:
            return items, pages
        query = type(query)(**{name: getattr(query, name) for name in query.__slots__} | {"cursor": page.next_cursor})


async def test_nothing_is_there_at_first(adapter: DataAdapter) -> None:
    exchange = adapter.exchange

    assert await exchange.position() == (0, {})
    assert (await exchange.accounts(AccountQuery())).items == []
    assert await exchange.keys() == []
    assert await exchange.order(1) is None
    assert await order_ids(adapter) == []
    assert await exchange.named_orders(0) == []
    assert await fill_keys(adapter) == []
    assert await entry_keys(adapter) == []
    assert await exchange.trail(0, 10) == []
    assert await exchange.last_trail() is None


async def test_position_is_that_of_the_last_projection(adapter: DataAdapter) -> None:
    await adapter.exchange.store(Projection(sequence=5, document={"streams": {"trades": 1}}))
    await adapter.exchange.store(Projection(sequence=9, document={"streams": {"trades": 2}, "ratio": 1.0}))

    assert await adapter.exchange.position() == (9, {"streams": {"trades": 2}, "ratio": 1.0})


async def test_records_come_back_whole(adapter: DataAdapter) -> None:
    extremes = order(
        2**62,
        account=3,
        client_order_id=None,
        price_ticks=GREATEST,
        stop_ticks=LEAST,
        fingerprint=GREATEST,
        triggered=True,
        created_ns=1_700_000_000_123_456_789,
        updated_ns=GREATEST,
        event_sequence=GREATEST,
        verdict="too_late_in_the_day",
    )
    everything: dict[str, Any] = {
        "accounts": [
            account(1, name="Ännchen & söhne 🦊 \"quoted\" 'single' \\"),
            account(2**62, status=2, created_ns=GREATEST, updated_ns=0),
        ],
        "keys": [key("a", revoked_ns=GREATEST), key("b", label="")],
        "orders": [order(1), extremes],
        "fills": [fill(1), fill(1, is_maker=True, client_order_id="theirs", fee=LEAST)],
        "ledger": [entry(1, "BTC", delta_free=LEAST, free=GREATEST), entry(1, "USD")],
        "trail": [block(1, 5), block(6, 6)],
    }

    await store(adapter, **everything)

    exchange = adapter.exchange
    assert (await exchange.accounts(AccountQuery())).items == everything["accounts"]
    assert await exchange.keys() == everything["keys"]
    assert (await exchange.orders(OrderQuery(oldest_first=True))).items == everything["orders"]
    assert await exchange.order(2**62) == extremes
    assert (await exchange.fills(FillQuery(oldest_first=True))).items == everything["fills"]
    assert (await exchange.ledger(LedgerQuery(account=1, oldest_first=True))).items == everything["ledger"]
    assert await exchange.trail(0, 10) == chained(*everything["trail"])
    assert await exchange.last_trail() == chained(*everything["trail"])[-1]
    assert (await exchange.order(1)).post_only is False  # type: ignore[union-attr]  # it is there: see above


async def test_storing_twice_changes_nothing_and_later_records_replace_earlier_ones(adapter: DataAdapter) -> None:
    first: dict[str, Any] = {
        "accounts": [account(1), account(2)],
        "keys": [key("a")],
        "orders": [order(1), order(2)],
        "fills": [fill(1), fill(1, is_maker=True)],
        "ledger": [entry(1, "BTC"), entry(1, "USD"), entry(1, "USD", account=2)],
        "trail": [block(1, 5)],
    }
    await store(adapter, **first)
    await store(adapter, **first)

    await store(adapter, accounts=[account(2, status=1)], orders=[order(1, status=FILLED)], keys=[key("a", label="x")])

    exchange = adapter.exchange
    assert (await exchange.accounts(AccountQuery())).items == [account(1), account(2, status=1)]
    assert await exchange.keys() == [key("a", label="x")]
    assert (await exchange.orders(OrderQuery(oldest_first=True))).items == [order(1, status=FILLED), order(2)]
    assert await fill_keys(adapter, oldest_first=True) == [(1, False), (1, True)]
    assert await entry_keys(adapter, oldest_first=True) == [(1, "BTC"), (1, "USD")]
    assert await entry_keys(adapter, account=2) == [(1, "USD")]
    assert await exchange.trail(0, 10) == chained(block(1, 5))


async def test_of_two_records_with_one_key_in_a_projection_the_later_stays(adapter: DataAdapter) -> None:
    await store(adapter, orders=[order(1), order(2), order(1, status=CANCELED)])

    assert [found.status for found in (await adapter.exchange.orders(OrderQuery())).items] == [NEW, CANCELED]


async def test_columns_are_stored_as_the_records_that_they_stand_for(adapter: DataAdapter) -> None:
    extremes = resting(2**59, 2, price_ticks=GREATEST, fingerprint=LEAST, event_sequence=GREATEST)
    columns = [resting(1, 5), resting(6, 3, ["SOL/USD"]), resting(9, 2), extremes]
    rows = [posted(1, 4), posted(5, 2, ["SOL"], delta_free=LEAST, free=GREATEST), posted(7, 0), posted(7, 2)]
    await store(adapter, resting=columns, postings=rows)
    found = await orders_and_entries(adapter)
    named = await adapter.exchange.named_orders(0)
    await adapter.exchange.clear()

    records = [record for part in columns for record in part.records()]
    await store(adapter, orders=records, ledger=[entry for part in rows for entry in part.entries()])

    assert found == await orders_and_entries(adapter)
    assert named == await adapter.exchange.named_orders(0) == found[0] == records
    assert [len(entries) for entries in found[1]] == [4, 4]


async def test_order_in_columns_yields_to_its_record_in_the_same_projection(adapter: DataAdapter) -> None:
    columns = resting(1, 3)
    later = msgspec.structs.replace(columns.record(2), status=FILLED, cum_lots=100, leaves_lots=0, updated_ns=99)
    mixed: dict[str, Any] = {
        "resting": [columns],
        "orders": [later, order(4)],
        "ledger": [entry(1), entry(5, account=2)],
        "postings": [posted(2, 3)],
    }

    await store(adapter, **mixed)
    once = await orders_and_entries(adapter)
    await store(adapter, **mixed)

    assert once == await orders_and_entries(adapter)
    assert once[0] == [columns.record(1), later, columns.record(3), order(4)]
    assert [[found.event_sequence for found in entries] for entries in once[1]] == [[1, 2, 4], [3, 5]]


async def test_record_replaces_an_order_that_was_stored_in_columns(adapter: DataAdapter) -> None:
    columns = resting(1, 3)
    await store(adapter, resting=[columns])
    later = msgspec.structs.replace(columns.record(1), status=CANCELED, leaves_lots=0)

    await store(adapter, orders=[later])

    assert await adapter.exchange.order(1) == later
    assert [found.order_id for found in await adapter.exchange.named_orders(10**9)] == [2, 3]


async def test_more_columns_than_cross_at_once_are_stored_whole(adapter: DataAdapter) -> None:
    columns = [resting(first, 900) for first in range(1, 8_101, 900)]

    await store(adapter, resting=columns, postings=[posted(first, 900) for first in range(1, 8_101, 900)])

    orders, entries = await orders_and_entries(adapter)
    assert orders == [record for part in columns for record in part.records()]
    assert [len(each) for each in entries] == [4_050, 4_050]


async def test_refused_projection_stores_nothing(adapter: DataAdapter) -> None:
    await store(adapter, orders=[order(1)])

    with pytest.raises(InvalidRequest):
        await store(adapter, sequence=2, document={"x": float("nan")}, orders=[order(2)], accounts=[account(1)])

    assert await order_ids(adapter) == [1]
    assert (await adapter.exchange.accounts(AccountQuery())).items == []
    assert await adapter.exchange.position() == (1, {})


async def test_what_happens_to_records_afterwards_does_not_reach_the_store(adapter: DataAdapter) -> None:
    kept, opened = order(1), account(1)
    await store(adapter, orders=[kept], accounts=[opened])

    kept.status, opened.status = FILLED, 2
    found = await adapter.exchange.order(1)
    assert found is not None
    found.status = CANCELED

    assert (await adapter.exchange.orders(OrderQuery())).items == [order(1)]
    assert (await adapter.exchange.accounts(AccountQuery())).items == [account(1)]


async def test_clearing_forgets_everything(adapter: DataAdapter) -> None:
    await store(
        adapter,
        sequence=7,
        document={"n": 1},
        accounts=[account(1)],
        keys=[key("a")],
        orders=[order(1)],
        fills=[fill(1)],
        ledger=[entry(1)],
        trail=[block(1, 5)],
    )

    await adapter.exchange.clear()

    await test_nothing_is_there_at_first(adapter)
    await store(adapter, sequence=1, orders=[order(1)])
    assert await order_ids(adapter) == [1]


async def test_accounts_are_listed_by_number_and_status(adapter: DataAdapter) -> None:
    await store(adapter, accounts=[account(number, status=number % 3) for number in (5, 3, 8, 1, 2)])

    everyone, pages = await walk(adapter.exchange.accounts, AccountQuery(limit=2))
    second, _ = await walk(adapter.exchange.accounts, AccountQuery(limit=1, status=2))

    assert [found.account for found in everyone] == [1, 2, 3, 5, 8]
    assert pages == 3
    assert [found.account for found in second] == [2, 5, 8]


async def test_keys_are_listed_oldest_first(adapter: DataAdapter) -> None:
    await store(adapter, keys=[key("b", created_ns=2), key("c", created_ns=1), key("a", created_ns=2, account=9)])

    assert [found.api_key for found in await adapter.exchange.keys()] == ["c", "a", "b"]
    assert [found.api_key for found in await adapter.exchange.keys(1)] == ["c", "b"]
    assert await adapter.exchange.keys(5) == []


async def test_orders_are_listed_newest_first_unless_asked_otherwise(adapter: DataAdapter) -> None:
    await store(adapter, orders=[order(order_id) for order_id in (3, 1, 2)])

    assert await order_ids(adapter) == [3, 2, 1]
    assert await order_ids(adapter, oldest_first=True) == [1, 2, 3]
    assert await order_ids(adapter, limit=2) == [3, 2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"account": 2}, [4, 2]),
        ({"account": 3}, []),
        ({"symbol": "ETH/USD"}, [6, 3]),
        ({"statuses": (NEW, PARTLY)}, [5, 4, 2, 1]),
        ({"statuses": [FILLED]}, [6, 3]),
        ({"statuses": (NEW, FILLED)}, [6, 4, 3, 2]),
        ({"statuses": ()}, []),
        ({"client_order_id": "mine-5"}, [5]),
        ({"client_order_id": "mine-5", "account": 2}, []),
        ({"start_ns": 20, "end_ns": 50}, [4, 3, 2]),
        ({"account": 1, "statuses": (NEW, PARTLY), "start_ns": 20}, [5]),
        ({"account": 1, "symbol": "BTC/USD", "client_order_id": "mine-1"}, [1]),
    ],
    ids=str,
)
async def test_orders_are_filtered(adapter: DataAdapter, query: dict[str, Any], expected: list[int]) -> None:
    orders = [
        order(1, status=PARTLY),
        order(2, account=2),
        order(3, status=FILLED, symbol="ETH/USD"),
        order(4, account=2),
        order(5, status=PARTLY),
        order(6, status=FILLED, symbol="ETH/USD", client_order_id=None),
    ]
    await store(adapter, orders=orders)

    assert await order_ids(adapter, **query) == expected
    assert await order_ids(adapter, **query, oldest_first=True) == expected[::-1]


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_pages_of_orders_are_the_whole_though_more_arrive(adapter: DataAdapter, *, oldest_first: bool) -> None:
    await store(adapter, orders=[order(order_id, account=order_id % 2) for order_id in range(10, 40)])
    query = OrderQuery(account=1, limit=4, oldest_first=oldest_first)
    first = await adapter.exchange.orders(query)
    await store(adapter, orders=[order(9, account=1), order(41, account=1)])

    rest, _ = await walk(
        adapter.exchange.orders,
        OrderQuery(account=1, limit=4, oldest_first=oldest_first, cursor=first.next_cursor),
    )

    seen = [found.order_id for found in (*first.items, *rest)]
    expected = list(range(11, 40, 2))
    assert seen == ([*expected, 41] if oldest_first else [*expected[::-1], 9])


async def test_more_orders_than_cross_at_once_come_in_order(adapter: DataAdapter) -> None:
    await store(adapter, orders=[order(order_id) for order_id in range(1, 2_502)])

    assert await order_ids(adapter, limit=2_500) == list(range(2_501, 1, -1))
    assert [found.order_id for found in await adapter.exchange.named_orders(0)] == list(range(1, 2_502))


async def test_restart_goes_on_from_open_and_lately_named_orders(adapter: DataAdapter) -> None:
    orders = [
        order(9, status=NEW, client_order_id=None, updated_ns=1),
        order(8, status=PARTLY, updated_ns=1, account=4),
        order(7, status=FILLED, updated_ns=99),
        order(6, status=FILLED, updated_ns=100),
        order(5, status=CANCELED, updated_ns=101),
        order(4, status=CANCELED, updated_ns=101, client_order_id=None),
        order(3, status=NEW, updated_ns=200),
    ]
    await store(adapter, orders=orders)

    assert await adapter.exchange.named_orders(100) == [orders[index] for index in (6, 4, 3, 1, 0)]
    await store(adapter, orders=[order(8, status=FILLED, updated_ns=2), order(3, status=FILLED, updated_ns=200)])
    assert [found.order_id for found in await adapter.exchange.named_orders(200)] == [3, 9]


async def test_fills_are_listed_by_trade_with_the_taker_first(adapter: DataAdapter) -> None:
    await store(adapter, fills=[fill(2, is_maker=True), fill(1), fill(2), fill(1, is_maker=True)])

    assert await fill_keys(adapter, oldest_first=True) == [(1, False), (1, True), (2, False), (2, True)]
    assert await fill_keys(adapter) == [(2, True), (2, False), (1, True), (1, False)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"account": 2}, [(1, True), (2, True), (3, True)]),
        ({"taker_only": True}, [(1, False), (2, False), (3, False)]),
        ({"symbol": "ETH/USD", "taker_only": True}, [(3, False)]),
        ({"order_id": 2}, [(2, False), (2, True)]),
        ({"order_id": 2, "account": 1}, [(2, False)]),
        ({"start_ns": 20, "end_ns": 30}, [(2, False), (2, True)]),
        ({"account": 9}, []),
    ],
    ids=str,
)
async def test_fills_are_filtered(
    adapter: DataAdapter, query: dict[str, Any], expected: list[tuple[int, bool]]
) -> None:
    symbols = {1: "BTC/USD", 2: "BTC/USD", 3: "ETH/USD"}
    await store(
        adapter,
        fills=[
            fill(n, is_maker=is_maker, symbol=symbol) for n, symbol in symbols.items() for is_maker in (True, False)
        ],
    )

    assert await fill_keys(adapter, **query, oldest_first=True) == expected
    assert await fill_keys(adapter, **query) == expected[::-1]


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_page_may_end_between_the_fills_of_a_trade(adapter: DataAdapter, *, oldest_first: bool) -> None:
    fills = [fill(n, is_maker=is_maker) for n in (1, 2, 3) for is_maker in (False, True)]
    await store(adapter, fills=fills)

    found, pages = await walk(adapter.exchange.fills, FillQuery(limit=1, oldest_first=oldest_first))

    assert found == (fills if oldest_first else fills[::-1])
    assert pages == 6


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [(1, "BTC"), (1, "USD"), (2, "USD"), (3, "USD")]),
        ({"asset": "BTC"}, [(1, "BTC")]),
        ({"causes": (4, 5)}, [(2, "USD"), (3, "USD")]),
        ({"causes": [5], "asset": "USD"}, [(3, "USD")]),
        ({"causes": []}, []),
        ({"order_id": 8}, [(3, "USD")]),
        ({"start_ns": 10, "end_ns": 20}, [(1, "BTC"), (1, "USD")]),
        ({"account": 2}, [(4, "USD")]),
    ],
    ids=str,
)
async def test_ledger_is_filtered(adapter: DataAdapter, query: dict[str, Any], expected: list[tuple[int, str]]) -> None:
    entries = [
        entry(3, cause=5, order_id=8),
        entry(1, "USD"),
        entry(4, account=2),
        entry(2, cause=4),
        entry(1, "BTC"),
    ]
    await store(adapter, ledger=entries)

    assert await entry_keys(adapter, **query, oldest_first=True) == expected
    assert await entry_keys(adapter, **query) == expected[::-1]


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_page_may_end_between_the_entries_of_an_event(adapter: DataAdapter, *, oldest_first: bool) -> None:
    entries = [entry(n, asset) for n in (1, 2, 3) for asset in ("BTC", "ETH", "USD")]
    await store(adapter, ledger=entries)

    found, pages = await walk(adapter.exchange.ledger, LedgerQuery(account=1, limit=2, oldest_first=oldest_first))

    assert found == (entries if oldest_first else entries[::-1])
    assert pages == 5


async def test_trail_is_read_from_the_block_that_holds_a_sequence(adapter: DataAdapter) -> None:
    given = [block(1, 5), block(6, 6), block(7, 20), block(21, 22)]
    await store(adapter, trail=given)

    blocks = chained(*given)
    assert await adapter.exchange.trail(0, 10) == blocks
    assert await adapter.exchange.trail(5, 10) == blocks
    assert await adapter.exchange.trail(6, 10) == blocks[1:]
    assert await adapter.exchange.trail(13, 1) == [blocks[2]]
    assert await adapter.exchange.trail(23, 10) == []


async def test_trail_is_chained_to_the_last_block_that_is_stored_before(adapter: DataAdapter) -> None:
    given = [block(1, 5), block(6, 6), block(7, 20)]
    for each in given:
        await store(adapter, trail=[each])
    # As after a failure of which nobody knows whether it was stored.
    await store(adapter, trail=[given[2]])

    assert await adapter.exchange.trail(0, 10) == chained(*given)
    await adapter.exchange.clear()
    await store(adapter, trail=given[1:])
    assert await adapter.exchange.trail(0, 10) == chained(*given[1:])


@pytest.mark.parametrize("limit", [0, 10_001])
async def test_bad_limits_are_refused(adapter: DataAdapter, limit: int) -> None:
    for asking in (
        adapter.exchange.accounts(AccountQuery(limit=limit)),
        adapter.exchange.orders(OrderQuery(limit=limit)),
        adapter.exchange.fills(FillQuery(limit=limit)),
        adapter.exchange.ledger(LedgerQuery(account=1, limit=limit)),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await asking
        assert refused.value.code == "limit_out_of_range"


async def test_cursor_belongs_to_its_query(adapter: DataAdapter) -> None:
    await store(
        adapter,
        accounts=[account(1), account(2)],
        orders=[order(1), order(2)],
        fills=[fill(1), fill(2)],
        ledger=[entry(1), entry(2)],
    )
    orders = await adapter.exchange.orders(OrderQuery(limit=1))
    entries = await adapter.exchange.ledger(LedgerQuery(account=1, limit=1))
    accounts = await adapter.exchange.accounts(AccountQuery(limit=1))
    assert None not in {orders.next_cursor, entries.next_cursor, accounts.next_cursor}

    for asking in (
        adapter.exchange.orders(OrderQuery(account=1, cursor=orders.next_cursor)),
        adapter.exchange.orders(OrderQuery(oldest_first=True, cursor=orders.next_cursor)),
        adapter.exchange.orders(OrderQuery(statuses=(NEW,), cursor=orders.next_cursor)),
        adapter.exchange.fills(FillQuery(cursor=orders.next_cursor)),
        adapter.exchange.ledger(LedgerQuery(account=2, cursor=entries.next_cursor)),
        adapter.exchange.ledger(LedgerQuery(account=1, asset="USD", cursor=entries.next_cursor)),
        adapter.exchange.accounts(AccountQuery(status=0, cursor=accounts.next_cursor)),
        adapter.exchange.orders(OrderQuery(cursor="rubbish")),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await asking
        assert refused.value.code == "invalid_cursor"


async def test_page_of_another_length_goes_on_with_the_same_cursor(adapter: DataAdapter) -> None:
    await store(adapter, orders=[order(n) for n in range(1, 6)])
    first = await adapter.exchange.orders(OrderQuery(limit=2))

    assert await order_ids(adapter, limit=10, cursor=first.next_cursor) == [3, 2, 1]


async def test_read_models_are_there_after_opening_again(open_again: OpenAgain) -> None:
    await store(
        await open_again(),
        sequence=7,
        document={"n": 1},
        accounts=[account(1)],
        orders=[order(1)],
        ledger=[entry(1)],
        trail=[block(1, 5)],
    )

    after = await open_again()

    assert await after.exchange.position() == (7, {"n": 1})
    assert (await after.exchange.accounts(AccountQuery())).items == [account(1)]
    assert await after.exchange.named_orders(0) == [order(1)]
    assert await entry_keys(after) == [(1, "USD")]
    assert await after.exchange.last_trail() == chained(block(1, 5))[-1]
