"""Plain orders in lists: whatever is done, it comes to the same as with an entry for each order."""

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from exchange_kit import ORIGIN, Exchange, FaultyJournal, order

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import AmendRequest, OrderRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import FillQuery, LedgerQuery, OrderQuery
from fauxchange.domain.errors import FauxchangeError, InvalidRequest, NotFound, Unavailable
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import CLIENT_ORDER_ID_KEPT_NS, OrderRecord
from fauxchange.domain.times import NS_PER_MS
from fauxchange.services.exchange.core.commands import create_account, deposit
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.layout import H_LAST_ORDER_ID
from fauxchange.services.exchange.core.vocabulary import OrderStatus
from fauxchange.services.exchange.service.background import BACKGROUND
from fauxchange.services.exchange.service.entries import Block, Entry, Note, row_of, unpack_batch
from fauxchange.services.exchange.service.order_lists import MAX_ORDERS
from fauxchange.services.exchange.service.placing import place_row
from fauxchange.services.exchange.service.requests import Outcome, Placement
from fauxchange.services.exchange.service.sequencer import FEW_ORDERS
from fauxchange.services.exchange.service.verification import Verifier

MANY = 3 * FEW_ORDERS


class Trader:
    """A sink that remembers what it was told, in records and texts."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.heard: list[tuple[Any, str]] = []
        self.in_columns = 0
        self._numbers: list[weakref.ref[Any]] = []

    def runs_in_memory(self) -> int:
        """Return how many of the runs that it was told of anybody keeps."""
        gc.collect()
        return len([each for each in self._numbers if each() is not None])

    def rested(self, orders: RestingOrders, begun: int, tokens: Sequence[Any]) -> None:
        self.in_columns += len(tokens)
        self._numbers.append(weakref.ref(orders.numbers))
        for order_id, token in enumerate(tokens, orders.first_order_id + begun):
            self.heard.append((token, self._text(Outcome(Placement(orders.record(order_id))))))

    def told(self, token: Any, outcome: Outcome) -> None:
        self.heard.append((token, self._text(outcome)))

    def place(self, account: int, request: OrderRequest, token: Any, *, in_lists: bool) -> None:
        service = self.exchange.service
        try:
            if in_lists and service.submit_plain(account, request, ORIGIN, self, token):
                return
            service.submit_order(account, request, ORIGIN, lambda outcome: self.told(token, outcome))
        except FauxchangeError as exc:
            self.told(token, Outcome(failure=exc))

    def _text(self, outcome: Outcome) -> str:
        placement = outcome.placement
        if placement is None:
            return f"{outcome.failure.code}: {outcome.failure}" if outcome.failure else "nothing"
        record = placement.order
        listing = self.exchange.service.listing_of(record.symbol)
        return f"{placement.repeated} {render.order_json(record, listing, placement.fills).decode()}"


async def started(journal: bool = False) -> Exchange:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    return await Exchange(adapter, journal=FaultyJournal(adapter.journal) if journal else None).start()


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = await started()
    yield exchange
    await exchange.data.disconnect()


def random_order(chance: random.Random, names: list[str]) -> OrderRequest:
    symbol = chance.choice(("BTC/USD", "BTC/USD", "ETH-USD"))
    more: dict[str, Any] = {"symbol": symbol}
    if chance.random() < 0.8:
        more["client_order_id"] = chance.choice(names) if names and chance.random() < 0.1 else f"o{len(names)}"
        names.append(more["client_order_id"])
    if chance.random() < 0.1:
        more["post_only"] = True
    if chance.random() < 0.2:
        more["self_trade_prevention"] = chance.choice(("none", "expire_taker", "expire_maker", "expire_both"))
    if chance.random() < 0.05:
        more["time_in_force"] = chance.choice(("GTC", "IOC", "FOK"))
    side = chance.choice(("buy", "sell"))
    # Mostly side by side, sometimes across the spread, seldom more than anybody has.
    price = chance.randint(90, 99) if side == "buy" else chance.randint(101, 110)
    if chance.random() < 0.1:
        price = chance.randint(95, 105)
    quantity = "1000" if chance.random() < 0.03 else f"0.{chance.randint(1, 9)}"
    request: OrderRequest = order(side, quantity, str(price), **more)
    return request


async def background_account(exchange: Exchange) -> int:
    content = {"name": "background", BACKGROUND: True}
    exchange.service.submit(Entry(row_of(create_account()), Note(ORIGIN, content=content)))
    await exchange.sequencer.run_dry()
    (account,) = exchange.venue.registry.background.numbers
    for asset in range(3):
        exchange.service.submit(Entry(row_of(deposit(account, asset, 10**15)), Note(ORIGIN)))
    await exchange.sequencer.run_dry()
    return account


def random_block(exchange: Exchange, chance: random.Random, account: int) -> Block:
    rows = []
    for _ in range(chance.choice((1, 10, 30))):
        symbol, side = chance.choice(("BTC/USD", "ETH/USD")), chance.choice(("buy", "sell"))
        request = order(side, f"0.{chance.randint(1, 9)}", str(chance.randint(94, 106)), symbol=symbol)
        rows.append(place_row(account, exchange.service.listing(symbol), request))
    return Block(np.array(rows, dtype=np.int64), Note(ORIGIN))


async def story(
    exchange: Exchange, seed: int, *, in_lists: bool, with_blocks: bool = False
) -> tuple[Trader, dict[str, Any]]:
    """Do the same as ever with a seed; return what was told and everything that is known afterwards."""
    chance = random.Random(seed)
    background = await background_account(exchange) if with_blocks else 0
    service = exchange.service
    trader = Trader(exchange)
    accounts = [await exchange.account(BTC="40", ETH="40", USD="4000") for _ in range(3)]
    # One of them follows its orders and balances.
    topics = exchange.venue.private_topics(accounts[0])
    names: dict[int, list[str]] = {account: [] for account in accounts}
    for turn in range(12):
        for token in range(chance.choice((1, 5, 20, 60, 60))):
            account = chance.choice(accounts)
            trader.place(account, random_order(chance, names[account]), (turn, token), in_lists=in_lists)
            if names[account] and chance.random() < 0.05:
                _change(exchange, trader, chance, account, names[account])
            if with_blocks and token % 20 == 7:
                exchange.service.submit(random_block(exchange, chance, background))
        await exchange.sequencer.run_dry()
        if turn % 3 == 2:
            await exchange.projector.flush()
        await exchange.clock.step(chance.randint(0, 10) * NS_PER_MS)
    for account in accounts[:2]:
        canceled = await service.cancel_all(account, None, ORIGIN)
        trader.heard.append(("canceled", repr(canceled)))
    known: dict[str, Any] = {"hash": exchange.hash(), "sums": exchange.sums()}
    for account in accounts:
        known[f"open {account}"] = exchange.venue.orders.open_orders(account)
        known[f"balances {account}"] = service.balances(account)
        known[f"orders {account}"] = (await service.orders(OrderQuery(account=account, limit=1_000))).items
        known[f"ledger {account}"] = (await service.ledger(LedgerQuery(account=account, limit=5_000))).items
        known[f"fills {account}"] = (await service.fills(FillQuery(account=account, limit=5_000))).items
    stores = exchange.data
    verifier = Verifier(stores.journal, stores.kernel_snapshots, stores.exchange, compiler=interpreted)
    known["verified"] = (await verifier.verify()).trail_hash
    known["trail"] = [block.hash for block in await exchange.data.exchange.trail(1, 10_000)][-1]
    known["told"] = [message.json() for topic in (topics.orders, topics.balances) for message in topic.kept]
    known["books"] = [(topic.book.checksum(), [each.json() for each in topic.kept]) for topic in exchange.venue.books]
    payloads = [batch.payload async for batches in exchange.journal.read() for batch in batches]
    # Beside blocks a list is a part of its own, with the same rows and notes.
    known["journal"] = [_content(payload) for payload in payloads] if with_blocks else payloads
    return trader, known


def _content(payload: bytes) -> tuple[bytes, list[bytes]]:
    batch = unpack_batch(payload)
    return batch.matrix.tobytes(), [cast("Entry", entry).packed for entry in batch.entries]


def _change(exchange: Exchange, trader: Trader, chance: random.Random, account: int, names: list[str]) -> None:
    name = chance.choice(names)
    token = ("change", name)
    try:
        if chance.random() < 0.5:
            exchange.service.submit_cancel(
                account, f"client:{name}", ORIGIN, lambda outcome: trader.told(token, outcome)
            )
        else:
            amend = AmendRequest(quantity="0.1")
            exchange.service.submit_amend(
                account, f"client:{name}", amend, ORIGIN, lambda outcome: trader.told(token, outcome)
            )
    except FauxchangeError as exc:
        trader.told(token, Outcome(failure=exc))


@pytest.mark.parametrize("with_blocks", [False, True], ids=["lists alone", "beside blocks"])
@pytest.mark.parametrize("seed", range(5))
async def test_lists_come_to_the_same_as_entries(seed: int, with_blocks: bool) -> None:
    one, other = await started(), await started()

    by_entries, expected = await story(one, seed, in_lists=False, with_blocks=with_blocks)
    by_lists, found = await story(other, seed, in_lists=True, with_blocks=with_blocks)

    assert by_lists.in_columns > 20
    assert by_entries.in_columns == 0
    # Orders that finished are told by tasks of their own, in whatever turn of the loop.
    assert sorted(by_lists.heard, key=lambda each: str(each[0])) == sorted(
        by_entries.heard, key=lambda each: str(each[0])
    )
    for what, value in expected.items():
        assert found[what] == value, what


async def test_a_restart_knows_what_came_in_lists(exchange: Exchange) -> None:
    account = await exchange.account(USD="100000")
    trader = Trader(exchange)
    for number in range(MANY):
        trader.place(
            account, order("buy", "0.1", str(90 + number % 5), client_order_id=f"o{number}"), number, in_lists=True
        )
    await exchange.sequencer.run_dry()
    before = exchange.venue.orders.open_orders(account)
    state = exchange.hash()
    await exchange.stop()

    again = await Exchange(exchange.data, clock=exchange.clock).start()

    assert trader.in_columns == MANY
    assert again.hash() == state
    assert again.venue.orders.open_orders(account) == before
    repeated = await again.place(account, "buy", "0.1", "90", client_order_id="o0")
    assert repeated.repeated
    assert repeated.order == before[0]


async def test_the_journal_has_the_orders_of_a_list_one_by_one(exchange: Exchange) -> None:
    account = await exchange.account(USD="100000")
    trader = Trader(exchange)
    for number in range(MANY):
        trader.place(account, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)
    await exchange.sequencer.run_dry()

    *_, last = [batch async for batches in exchange.journal.read() for batch in batches]
    entries = cast("list[Entry]", unpack_batch(last.payload).entries)

    assert [entry.note.client_order_id for entry in entries] == [f"o{number}" for number in range(MANY)]
    assert {entry.note.origin for entry in entries} == {ORIGIN}


async def test_fifty_workers_with_one_client_order_id_make_one_order_of_a_list(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    request = order("buy", "0.1", "90", client_order_id="only-one")
    for number in range(MANY):
        trader.place(account, order("buy", "0.1", "80"), f"other {number}", in_lists=True)

    for number in range(50):
        trader.place(account, request, number, in_lists=True)
    trader.place(account, order("buy", "0.2", "90", client_order_id="only-one"), "another", in_lists=True)
    await exchange.sequencer.run_dry()

    heard = dict(trader.heard)
    assert [heard[number].startswith("True") for number in range(50)] == [False] + [True] * 49
    assert len({heard[number].partition(" ")[2] for number in range(50)}) == 1
    assert "duplicate_client_order_id" in heard["another"]
    assert len(exchange.venue.orders.open_orders(account)) == MANY + 1


async def test_a_client_order_id_of_a_full_list_that_waits_stands_for_its_order(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    for number in range(MAX_ORDERS + 2):
        trader.place(account, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)

    trader.place(account, order("buy", "0.1", "90", client_order_id="o3"), "again", in_lists=True)
    trader.place(account, order("buy", "0.2", "90", client_order_id="o4"), "another", in_lists=True)
    await exchange.sequencer.run_dry()

    heard = dict(trader.heard)
    assert heard["again"] == heard[3].replace("False", "True", 1)
    assert "duplicate_client_order_id" in heard["another"]
    assert len(exchange.venue.orders.open_orders(account)) == MAX_ORDERS + 2


async def test_an_order_with_two_mistakes_is_told_the_same_one_either_way(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    wrong = [
        order("buy", "bad", "worse"),
        order("buy", "0.000001", "0.001"),
        order("sideways", "bad", "90"),
        order("buy", "0", "90", self_trade_prevention="perhaps"),
        order("buy", "1", "90", self_trade_prevention="perhaps"),
    ]
    for request in wrong:
        told = []
        for in_lists in (True, False):
            trader = Trader(exchange)
            trader.place(account, request, 0, in_lists=in_lists)
            told += trader.heard
        assert told[0] == told[1]


async def test_a_client_order_id_of_a_list_is_free_24_hours_after_its_order_finished(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)

    async def place(name: str) -> str:
        for number in range(MANY):
            trader.place(account, order("buy", "0.1", "80"), number, in_lists=True)
        trader.place(account, order("buy", "0.1", "90", client_order_id=name), name, in_lists=True)
        await exchange.sequencer.run_dry()
        return dict(trader.heard)[name]

    first = await place("mine")
    await exchange.service.cancel_order(account, "client:mine", ORIGIN)
    await exchange.clock.step(CLIENT_ORDER_ID_KEPT_NS - 1)
    again = await place("mine")
    await exchange.clock.step(1)
    # Other orders in lists are enough to have it forgotten.
    await place("other")
    anew = await place("mine")

    assert not first.startswith("True")
    assert again.startswith("True")
    assert not anew.startswith("True")
    assert not exchange.venue.orders.is_taken(account, "never")


async def test_what_waits_for_an_order_of_a_list_hears_of_it(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    heard: list[str] = []
    for number in range(MANY):
        trader.place(account, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)

    assert exchange.service.when_placed(account, "o3", lambda: heard.append("o3"))
    assert not exchange.service.when_placed(account, "nobody's", lambda: heard.append("nobody's"))
    asked = asyncio.ensure_future(exchange.service.order(account, "client:o5"))
    canceling = asyncio.ensure_future(exchange.service.cancel_order(account, "client:o7", ORIGIN))
    await exchange.sequencer.run_dry()
    placement = await asked
    canceled = await canceling

    assert heard == ["o3"]
    assert placement.order.client_order_id == "o5"
    assert canceled.order.status == OrderStatus.CANCELED
    assert not exchange.service.when_placed(account, "o3", lambda: heard.append("late"))


@pytest.mark.parametrize("count", [2, MANY])
async def test_when_the_journal_refuses_nothing_of_a_list_was_done(count: int) -> None:
    exchange = await started(journal=True)
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    exchange.journal.fail_before = 1
    for number in range(count):
        trader.place(account, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)
    await exchange.sequencer.run_dry()

    assert len(trader.heard) == count
    # Those that wait while it is not known yet are told so, the others that nothing was done.
    assert all("journal_unavailable" in text or "outcome_unknown" in text for _, text in trader.heard)
    assert not any(exchange.venue.orders.is_taken(account, f"o{number}") for number in range(count))
    assert exchange.venue.orders.open_orders(account) == []
    assert (await exchange.place(account, "buy", "0.1", "90", client_order_id="o0")).repeated is False


@pytest.mark.parametrize("count", [2, MANY])
async def test_what_was_stored_of_a_list_after_all_is_carried_out(count: int) -> None:
    exchange = await started(journal=True)
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    exchange.journal.fail_after = 1
    exchange.journal.blind = True
    for number in range(count):
        trader.place(account, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)
    while len(trader.heard) < count:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    with pytest.raises(Unavailable) as unknown:
        await exchange.place(account, "buy", "0.1", "90", client_order_id="o1")
    exchange.journal.blind = False
    await exchange.sequencer.run_dry()
    again = await exchange.place(account, "buy", "0.1", "90", client_order_id="o1")

    assert {"outcome_unknown" in text for _, text in trader.heard} == {True}
    assert unknown.value.code in {"outcome_unknown", "journal_unavailable"}
    assert again.repeated
    assert len(exchange.venue.orders.open_orders(account)) == count


async def test_a_list_is_bounded_and_the_queue_counts_its_orders(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)

    for number in range(MAX_ORDERS + 5):
        trader.place(account, order("buy", "0.00001", "90"), number, in_lists=True)
    assert exchange.sequencer.waiting == MAX_ORDERS + 5
    for number in range(MAX_ORDERS + 5, 10_001):
        trader.place(account, order("buy", "0.00001", "90"), number, in_lists=True)
    refused = [text for _, text in trader.heard]
    await exchange.sequencer.run_dry()

    assert len(refused) == 1
    assert "queue_full" in refused[0]
    assert [token for token, _ in trader.heard[1:]] == list(range(10_000))
    assert exchange.sequencer.waiting == 0


async def test_what_is_no_plain_order_is_left_to_others(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000000", BTC="10")
    trader = Trader(exchange)
    others = [
        order("buy", "1"),
        order("buy", "1", "90", time_in_force="IOC"),
        order("buy", "1", "90", display_quantity="0.1"),
        order("buy", "1", "90", expires_at="2026-03-01T00:00:00Z"),
        order("sell", "1", None, type="stop", stop_price="80"),
        order("sell", "1", "70", type="stop_limit", stop_price="80"),
    ]

    assert [exchange.service.submit_plain(account, each, ORIGIN, trader, 0) for each in others] == [False] * 6
    with pytest.raises(InvalidRequest, match="is not a multiple of"):
        exchange.service.submit_plain(account, order("buy", "1", "0.001"), ORIGIN, trader, 0)
    with pytest.raises(NotFound):
        exchange.service.submit_plain(account, order("buy", "1", "90", symbol="XXX/USD"), ORIGIN, trader, 0)
    exchange.service.check_before = lambda account, request: None
    assert not exchange.service.submit_plain(account, order("buy", "1", "90"), ORIGIN, trader, 0)
    assert exchange.sequencer.waiting == 0
    assert trader.heard == []


async def test_orders_in_columns_become_records_when_somebody_wants_them(exchange: Exchange) -> None:
    account, seller = await exchange.account(USD="1000000"), await exchange.account(BTC="10")
    trader = Trader(exchange)
    for number in range(MANY):
        trader.place(
            account, order("buy", "0.1", str(90 - number % 3), client_order_id=f"o{number}"), number, in_lists=True
        )
    await exchange.sequencer.run_dry()
    assert not exchange.venue.orders.by_id

    taken = await exchange.place(seller, "sell", "0.15", "90")
    records: list[OrderRecord] = list(exchange.venue.orders.by_id.values())

    assert taken.order.status == OrderStatus.FILLED
    assert [(record.client_order_id, record.status) for record in records if record.account == account] == [
        ("o0", OrderStatus.FILLED),
        ("o3", OrderStatus.PARTIALLY_FILLED),
    ]
    assert (await exchange.stored_order(records[0].order_id)).status == OrderStatus.FILLED


@pytest.mark.parametrize("accounts", [1, 70, MAX_ORDERS])
async def test_orders_of_however_many_accounts_are_followed(exchange: Exchange, accounts: int) -> None:
    numbers = [await exchange.account(USD="1000") for _ in range(accounts)]
    trader = Trader(exchange)
    orders = max(MANY, accounts)

    for token in range(orders):
        trader.place(numbers[token % accounts], order("buy", "0.1", str(80 + token % 7)), token, in_lists=True)
    await exchange.sequencer.run_dry()
    ledger = (await exchange.service.ledger(LedgerQuery(account=numbers[0], limit=1_000, oldest_first=True))).items

    assert [token for token, _ in trader.heard] == list(range(orders))
    assert trader.in_columns == orders
    assert sum(exchange.sums()["USD"]) == 0
    free = held = 0
    for entry in ledger:
        free, held = free + entry.delta_free, held + entry.delta_held
        assert (entry.free, entry.held) == (free, held)
    (balance,) = exchange.service.balances(numbers[0])
    assert (balance.free, balance.held) == (free, held)


@pytest.mark.parametrize("named", [True, False])
async def test_what_few_orders_are_left_of_is_not_kept(exchange: Exchange, named: bool) -> None:
    account = await exchange.account(USD="1000000")
    trader = Trader(exchange)
    for number in range(MAX_ORDERS):
        more = {"client_order_id": f"o{number}"} if named else {}
        trader.place(account, order("buy", "0.1", "90", **more), number, in_lists=True)
    await exchange.sequencer.run_dry()
    first = exchange.venue.engine.state.memory[H_LAST_ORDER_ID] - MAX_ORDERS + 1
    await exchange.projector.flush()
    records = exchange.venue.orders.open_orders

    async def cancel(numbers: range) -> int:
        for number in numbers:
            await exchange.service.cancel_order(account, str(first + number), ORIGIN)
        await exchange.projector.flush()
        return trader.runs_in_memory()

    kept = [await cancel(range(10)), await cancel(range(10, 110)), await cancel(range(110, MAX_ORDERS - 1))]

    assert kept == [1, 1, 0]
    assert [record.order_id for record in records(account)] == [first + MAX_ORDERS - 1]
    if named:
        canceled = await exchange.service.cancel_order(account, f"client:o{MAX_ORDERS - 1}", ORIGIN)
        assert canceled.order.order_id == first + MAX_ORDERS - 1


async def test_a_report_keeps_no_more_than_its_order(exchange: Exchange) -> None:
    account, other = await exchange.account(USD="1000000"), await exchange.account(USD="1000000")
    topics = exchange.venue.private_topics(account)
    trader = Trader(exchange)
    for number in range(MANY):
        whose = account if number == 3 else other
        trader.place(whose, order("buy", "0.1", "90", client_order_id=f"o{number}"), number, in_lists=True)
    await exchange.sequencer.run_dry()
    await exchange.service.cancel_all(other, None, ORIGIN)
    await exchange.service.cancel_all(account, None, ORIGIN)
    await exchange.projector.flush()

    new = next(iter(topics.orders.kept))

    assert new.data.record.client_order_id == "o3"
    assert trader.runs_in_memory() == 0


async def test_a_bug_in_one_sink_keeps_no_other_from_its_answers(exchange: Exchange) -> None:
    class Broken(Trader):
        def rested(self, orders: RestingOrders, begun: int, tokens: Sequence[Any]) -> None:
            raise RuntimeError("this sink is broken")

    account = await exchange.account(USD="1000000")
    broken, trader = Broken(exchange), Trader(exchange)
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    for number in range(MANY):
        chosen = broken if number < FEW_ORDERS else trader
        chosen.place(account, order("buy", "0.1", "90"), number, in_lists=True)
    await exchange.sequencer.run_dry()

    assert [token for token, _ in trader.heard] == list(range(FEW_ORDERS, MANY))
    assert [str(each["exception"]) for each in heard] == ["this sink is broken"]
