"""Gateways and the kernel process that they are linked to: what holds for all of them, and when a link breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio
import pytest
from exchange_kit import ORIGIN, START_NS, Exchange, FaultyJournal, order
from gateway_kit import KERNEL_KEY, Gateway, Kernel, until

from fauxchange.client.signing import Credentials, Signer
from fauxchange.contracts.exchange.messages import KeyRequest
from fauxchange.contracts.exchange.v1 import kernel_link_pb2 as pb
from fauxchange.contracts.exchange.v1.kernel_link_pb2_grpc import KernelLinkServiceStub
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import (
    FauxchangeError,
    Forbidden,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.domain.orders import OPEN_STATUSES, ORDER_STATUSES
from fauxchange.platform.ports import DependencyStatus
from fauxchange.platform.streams.hub import Delivery
from fauxchange.services.exchange.rpc.kernel_link import Link
from fauxchange.services.exchange.service import links
from fauxchange.services.exchange.service.channels import ORDERS
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.requests import Caller, Origin, Outcome, Role

MESSAGE = b"GET/api/v1/account"


class System:
    """A kernel process with its journal, and gateways at its door."""

    def __init__(self, exchange: Exchange, journal: FaultyJournal, kernel: Kernel) -> None:
        self.exchange = exchange
        self.journal = journal
        self.kernel = kernel
        self.gateways: list[Gateway] = []
        self._nonces = iter(range(1_000_000))

    async def gateway(self) -> Gateway:
        gateway = Gateway(self.kernel.target)
        self.gateways.append(gateway)
        gateway.begin()
        await gateway.until_linked()
        return gateway

    async def caller(self, account: int, *gateways: Gateway) -> "Signs":
        """Return who signs with a new key of an account, which these gateways know."""
        key, secret = await self.exchange.service.create_key(str(account), KeyRequest(), ORIGIN)
        for gateway in gateways:
            await until(lambda gateway=gateway: gateway.replica.find(key.api_key))
        signer = Signer(
            Credentials(api_key=key.api_key, api_secret=secret),
            now_ns=lambda: START_NS,
            nonce=lambda: str(next(self._nonces)),
        )
        return Signs(key.api_key, signer)

    def status(self, order_id: int) -> int:
        return self.exchange.venue.orders[order_id].status


class Signs:
    """A key, and requests that are signed with it."""

    def __init__(self, key: str, signer: Signer) -> None:
        self.key = key
        self._signer = signer

    @property
    def origin(self) -> Origin:
        return Origin(f"key:{self.key}", "127.0.0.1", "r", "t")

    def request(self) -> dict[str, Any]:
        headers = self._signer.headers("GET", b"/api/v1/account", b"")
        return {
            "key": headers["FX-Key"],
            "timestamp": headers["FX-Timestamp"],
            "signature": headers["FX-Signature"],
            "nonce": headers["FX-Nonce"],
            "message": MESSAGE,
        }

    def at(self, gateway: Gateway) -> Caller:
        """Return the caller that a gateway finds behind a new request."""
        return gateway.access.signed(**self.request())


@asynccontextmanager
async def running(*, per_second: int = 0, burst: int | None = None) -> AsyncIterator[System]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    journal = FaultyJournal(adapter.journal)
    exchange = await Exchange(adapter, journal=journal).start()  # type: ignore[arg-type]  # as far as it is used here
    kernel = Kernel(exchange, limits=RateLimits(exchange.clock, per_second=per_second, burst=burst))
    await kernel.open()
    system = System(exchange, journal, kernel)
    try:
        yield system
    finally:
        journal.let_go()
        for gateway in system.gateways:
            await gateway.stop()
        await kernel.shut()
        await exchange.stop()
        await adapter.disconnect()


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running() as system:
        yield system


async def read_to_end(stream: Any) -> None:
    async with asyncio.timeout(60):
        while await stream.read() is not grpc.aio.EOF:
            pass


class Reader:
    """Somebody who reads topics."""

    readers = 1

    def __init__(self) -> None:
        self.sequences: list[int] = []

    def deliver(self, delivery: Delivery) -> None:
        self.sequences += [message.sequence for message in delivery.messages]


def hears() -> tuple[list[Outcome], Callable[[Outcome], None]]:
    heard: list[Outcome] = []
    return heard, heard.append


# Who may ask, and how often


async def test_a_signature_is_accepted_once_over_all_gateways(system: System) -> None:
    first, second = await system.gateway(), await system.gateway()
    signs = await system.caller(await system.exchange.account(), first, second)
    request = signs.request()
    one, other = first.access.signed(**request), second.access.signed(**request)

    await first.allowances.admit(one, 1)
    with pytest.raises(Unauthenticated) as refused:
        await second.allowances.admit(other, 1)

    assert refused.value.code == "replayed_request"


async def test_an_allowance_is_one_for_all_gateways_and_each_tells_what_is_left_of_it() -> None:
    async with running(per_second=1, burst=3) as system:
        first, second = await system.gateway(), await system.gateway()
        signs = await system.caller(await system.exchange.account(), first, second)

        left = [(await gateway.allowances.admit(signs.at(gateway), 1)).remaining for gateway in (first, second, first)]
        with pytest.raises(RateLimited) as refused:
            await second.allowances.admit(signs.at(second), 1)

        assert left == [2, 1, 0]
        assert refused.value.retry_after_s == 1.0
        assert second.allowances.peek(signs.at(second).account).remaining == 0


async def test_what_a_session_does_beyond_the_allowance_is_refused_in_its_answer() -> None:
    async with running(per_second=1, burst=1) as system:
        gateway = await system.gateway()
        account = await system.exchange.account(USD="100000")
        heard, done = hears()

        for _ in range(2):
            gateway.allowances.take(account)
            gateway.service.submit_order(account, order("buy", "0.1", "100"), ORIGIN, done)
        await until(lambda: len(heard) == 2)

        failures = [outcome.failure for outcome in heard if outcome.failure is not None]
        assert [type(failure) for failure in failures] == [RateLimited]
        assert len(system.exchange.venue.orders.open_orders(account)) == 1


async def test_a_command_under_a_key_that_was_revoked_on_its_way_is_refused(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    signs = await system.caller(account, gateway)
    heard, done = hears()

    # The gateway has not heard of it when it sends the order: nothing was awaited since.
    await system.exchange.service.revoke_key(str(account), signs.key, ORIGIN)
    gateway.service.submit_order(account, order("buy", "0.1", "100"), signs.origin, done)
    await until(lambda: heard)

    assert heard[0].failure is not None
    assert heard[0].failure.code == "key_revoked"
    assert not system.exchange.venue.orders.open_orders(account)


async def test_administrators_are_let_in_with_the_key_of_the_exchange(system: System) -> None:
    gateway = await system.gateway()

    admin = gateway.access.admin("Bearer the administrators' key")

    assert admin.role is Role.ADMIN
    with pytest.raises((Unauthenticated, Forbidden)):
        gateway.access.admin("Bearer another")


@pytest.mark.parametrize(
    ("key", "version", "code"), [("another key that is long", "1", "KERNEL_KEY"), (KERNEL_KEY, "2", "version 2")]
)
async def test_a_gateway_with_another_key_or_version_is_not_let_in_and_says_why(
    system: System, key: str, version: str, code: str
) -> None:
    gateway = Gateway(system.kernel.target, key=key, version=version)
    system.gateways.append(gateway)

    gateway.begin()
    await until(lambda: gateway.losses)

    health = gateway.connection.health()
    assert health.status is DependencyStatus.DOWN
    assert code in health.detail
    assert not gateway.connection.is_live()


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", links.pack([links.encode(links.Beat())])])
async def test_what_is_no_greeting_of_a_gateway_ends_the_link(system: System, payload: bytes) -> None:
    async with grpc.aio.insecure_channel(system.kernel.target) as channel:
        stub: Any = KernelLinkServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
        stream = stub.Link(metadata=(("authorization", f"Bearer {KERNEL_KEY}"),))
        await stream.write(pb.LinkBatch(messages=payload))

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# What is told


async def test_books_and_trades_are_the_same_in_every_gateway_and_so_are_their_numbers(system: System) -> None:
    early = await system.gateway()
    seller, buyer = await system.exchange.account(BTC="10"), await system.exchange.account(USD="1000000")
    reader = Reader()
    early.replica.hub.subscribe(reader, early.replica.books[0])

    for price in ("101", "102", "103"):
        await system.exchange.place(seller, "sell", "1", price)
    await system.exchange.place(buyer, "buy", "1.5", "102")
    late = await system.gateway()
    topic = system.exchange.venue.books[0]
    await until(lambda: early.replica.books[0].sequence == topic.sequence)

    for gateway in (early, late):
        mine, trades = gateway.replica.books[0], gateway.replica.trades[0]
        assert (mine.epoch, mine.sequence, mine.book.checksum()) == (
            topic.epoch,
            topic.sequence,
            topic.book.checksum(),
        )
        assert gateway.service.book("BTC/USD", 5) == system.exchange.service.book("BTC/USD", 5)
        assert list(trades.recent) == list(system.exchange.venue.trades[0].recent)
        assert trades.sequence == 2
    assert reader.sequences == [1, 2, 3, 4]
    assert [message.json() for message in early.replica.books[0].kept] == [message.json() for message in topic.kept]


async def test_after_a_break_a_gateway_goes_on_where_it_was_so_that_its_readers_may_resume(system: System) -> None:
    gateway = await system.gateway()
    seller = await system.exchange.account(BTC="10")
    await system.exchange.place(seller, "sell", "1", "101")
    await until(lambda: gateway.replica.books[0].sequence == 1)

    await system.kernel.shut()
    await until(lambda: gateway.losses)
    for price in ("102", "103"):
        await system.exchange.place(seller, "sell", "1", price)
    await system.kernel.open()
    await gateway.until_linked()

    topic = system.exchange.venue.books[0]
    resumed = gateway.replica.books[0].resume(1)
    assert resumed is not None
    assert [message.json() for message in resumed] == [message.json() for message in topic.kept]
    assert gateway.replica.books[0].book.checksum() == topic.book.checksum()
    assert gateway.epochs == [1, 1]


async def test_a_message_that_does_not_follow_the_one_before_it_begins_the_link_anew(system: System) -> None:
    gateway = await system.gateway()
    seller = await system.exchange.account(BTC="10")
    gateway.replica.books[0].sequence = 7

    await system.exchange.place(seller, "sell", "1", "101")
    await until(lambda: gateway.losses)
    await gateway.until_linked()

    topic = system.exchange.venue.books[0]
    assert gateway.replica.books[0].sequence == topic.sequence
    assert gateway.replica.books[0].book.checksum() == topic.book.checksum()


async def test_an_accounts_orders_and_balances_are_told_while_somebody_watches(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    caller = Caller(Role.TRADER, account, "key:k")
    with pytest.raises(Unavailable):
        gateway.service.resolve_topics(ORDERS, None, caller)

    first = await gateway.service.watch(account)
    second = await gateway.service.watch(account)
    (topic,) = gateway.service.resolve_topics(ORDERS, None, caller)
    placed = await system.exchange.place(account, "buy", "1", "100")
    await until(lambda: topic.sequence == 1)
    snapshot = topic.snapshot()
    assert snapshot is not None
    (theirs,) = system.exchange.service.resolve_topics(ORDERS, None, caller)
    expected = theirs.snapshot()
    assert expected is not None
    first()
    still = gateway.service.resolve_topics(ORDERS, None, caller)
    second()

    assert snapshot.json() == expected.json()
    assert [record.order_id for record, _ in snapshot.data] == [placed.order.order_id]
    assert still == [topic]
    await until(lambda: theirs.subscribers == 0)
    with pytest.raises(Unavailable):
        gateway.service.resolve_topics(ORDERS, None, caller)


async def test_what_was_told_before_a_watch_began_is_there_for_those_who_resume(system: System) -> None:
    first, second = await system.gateway(), await system.gateway()
    account = await system.exchange.account(USD="100000")
    caller = Caller(Role.TRADER, account, "key:k")
    await first.service.watch(account)
    for price in ("100", "101", "102"):
        await system.exchange.place(account, "buy", "1", price)

    await second.service.watch(account)

    (topic,) = second.service.resolve_topics(ORDERS, None, caller)
    (theirs,) = system.exchange.service.resolve_topics(ORDERS, None, caller)
    resumed, expected = topic.resume(2), theirs.resume(2)
    assert resumed is not None
    assert expected is not None
    assert [message.json() for message in resumed] == [message.json() for message in expected]


# What is asked


async def test_a_refusal_comes_with_its_order_and_its_fills(system: System) -> None:
    gateway = await system.gateway()
    seller, buyer = await system.exchange.account(BTC="10"), await system.exchange.account(USD="100000")
    await system.exchange.place(seller, "sell", "1", "100")
    placed = await gateway.service.place_order(buyer, order("buy", "1", "100"), ORIGIN)

    with pytest.raises(Rejected) as refused:
        await gateway.service.cancel_order(buyer, str(placed.order.order_id), ORIGIN)

    assert refused.value.code == "order_finished"
    assert refused.value.order == placed.order
    assert list(gateway.service.fills_in_memory(placed.order.order_id)) == list(placed.fills)


async def test_orders_of_a_batch_are_accepted_or_refused_each_by_itself(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")

    outcomes = await gateway.service.place_orders(
        account, [order("buy", "1", "100"), order("buy", "0.000001", "100"), order("buy", "1", "101")], ORIGIN
    )

    assert [outcome.placement is not None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].failure, FauxchangeError)
    assert outcomes[1].failure.code == "off_grid"


async def test_a_link_that_breaks_before_the_answer_leaves_commands_unknown_and_questions_undone(
    system: System,
) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    system.journal.hold()

    placing = asyncio.create_task(
        gateway.service.place_order(account, order("buy", "1", "100", client_order_id="mine"), ORIGIN)
    )
    asking = asyncio.create_task(gateway.service.order(account, "client:mine"))
    await until(lambda: system.exchange.venue.orders.named(account, "mine"))
    await system.kernel.shut()
    results = await asyncio.gather(placing, asking, return_exceptions=True)
    system.journal.let_go()
    await system.kernel.open()
    await gateway.until_linked()
    found = await gateway.service.order(account, "client:mine")

    failures = [result for result in results if isinstance(result, Unavailable)]
    assert [failure.code for failure in failures] == ["outcome_unknown", "kernel_away"]
    assert all(failure.retry_after_s for failure in failures)
    assert found.order.client_order_id == "mine"


async def test_without_a_kernel_process_nothing_is_taken(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    signs = await system.caller(account, gateway)
    await system.kernel.shut()
    await until(lambda: not gateway.connection.is_live())
    heard, done = hears()

    with pytest.raises(Unavailable) as refused:
        gateway.service.submit_order(account, order("buy", "1", "100"), ORIGIN, done)
    with pytest.raises(Unavailable):
        signs.at(gateway)
    with pytest.raises(Unavailable):
        gateway.access.admin("Bearer the administrators' key")
    with pytest.raises(Unavailable):
        gateway.service.book("BTC/USD", 1)
    with pytest.raises(Unavailable):
        gateway.service.account(str(account))
    with pytest.raises(Unavailable):
        await gateway.service.watch(account)

    assert (refused.value.code, refused.value.retry_after_s) == ("kernel_away", 1.0)
    assert heard == []


# What sessions leave behind


async def test_a_session_that_ends_leaves_nothing_of_what_it_has_placed(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    session = gateway.service.kernel_session(account, ORIGIN)
    assert session is not None
    mine = await gateway.service.place_order(account, order("buy", "1", "100"), session.origin)
    other = await gateway.service.place_order(account, order("buy", "1", "101"), ORIGIN)

    session.cancel()
    await until(lambda: system.status(mine.order.order_id) not in OPEN_STATUSES)

    assert system.status(other.order.order_id) in OPEN_STATUSES
    journalled = system.exchange.venue.orders[mine.order.order_id]
    assert journalled.account == account


async def test_what_a_session_had_on_its_way_when_its_gateway_went_is_canceled_when_it_is_there(
    system: System,
) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="100000")
    session = gateway.service.kernel_session(account, ORIGIN)
    assert session is not None
    _, done = hears()
    system.journal.hold()
    gateway.service.submit_order(account, order("buy", "1", "100", client_order_id="mine"), session.origin, done)
    await until(lambda: system.exchange.venue.orders.named(account, "mine"))

    await gateway.stop()
    await until(lambda: not system.exchange.venue.hub.subscribers)
    system.journal.let_go()
    orders = system.exchange.venue.orders
    await until(lambda: any(record.status not in OPEN_STATUSES for record in orders.by_id.values()))

    (record,) = orders.by_id.values()
    assert (record.client_order_id, record.status) == ("mine", ORDER_STATUSES.index("CANCELED"))


async def test_a_gateway_that_says_nothing_is_taken_for_gone(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "BEAT_S", 0.01)
    monkeypatch.setattr(links, "SILENCE_S", 0.05)
    async with grpc.aio.insecure_channel(system.kernel.target) as channel:
        stub: Any = KernelLinkServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
        stream = stub.Link(metadata=(("authorization", f"Bearer {KERNEL_KEY}"),))
        hello = links.Hello("1", "mute", {})
        await stream.write(pb.LinkBatch(messages=links.pack([links.encode(hello)])))

        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await read_to_end(stream)

    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not system.exchange.venue.hub.subscribers


def test_a_process_that_stood_still_takes_nobody_for_gone_and_nothing_for_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "SILENCE_S", 2.0)
    hearing = links.Hearing(100.0)

    assert [hearing.is_silent(0.5) for _ in range(3)] == [False] * 3
    # A minute passed within one pause: this process was stopped.
    assert not hearing.is_silent(0.5)
    assert not hearing.is_fresh(160.0)
    assert hearing.is_silent(0.5)
    hearing.heard(161.0)
    assert hearing.is_fresh(163.0)
    assert not hearing.is_fresh(163.1)
    assert not hearing.is_silent(0.5)


async def test_a_connection_that_goes_under_a_write_is_a_gateway_that_is_gone(system: System) -> None:
    class Broken:
        async def write(self, _: object) -> None:
            raise grpc.aio.InternalError("Failed grpc_call_start_batch: 8 with grpc_call_error value: 'NOT_ON_SERVER'")

        async def read(self) -> object:
            return await asyncio.Event().wait()

    link = Link(system.kernel.links, cast("Any", Broken()), links.Hello("1", "lost", {}))
    try:
        with pytest.raises(Unavailable, match="the gateway's connection is lost"):
            await link.run([])
    finally:
        link.close()


async def test_a_kernel_process_that_says_nothing_is_taken_for_away(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "SILENCE_S", 0.2)
    monkeypatch.setattr(links, "BEAT_S", 3600.0)

    gateway = Gateway(system.kernel.target)
    system.gateways.append(gateway)
    gateway.begin()
    await until(lambda: gateway.losses)

    assert "said nothing" in gateway.connection.health().detail


async def test_accounts_keys_and_statuses_reach_every_gateway_as_they_change(system: System) -> None:
    gateway = await system.gateway()
    admin = await system.gateway()
    account = await system.exchange.account()

    await admin.service.set_instrument_status("BTC/USD", 1, ORIGIN)
    await admin.service.set_account_status(str(account), 1, ORIGIN)
    await gateway.allowances.admit(Caller(Role.ADMIN, -1, "admin"), 0)

    assert gateway.service.listing("BTC/USD").status == 1
    assert gateway.service.account(str(account)).status == 1


async def test_a_gateway_tells_that_the_kernel_process_takes_no_orders(system: System) -> None:
    gateway = await system.gateway()
    account = await system.exchange.account(USD="1000")
    system.journal.fail_before, system.journal.blind = 1, True

    with pytest.raises(Unavailable):
        await system.exchange.place(account, "buy", "0.001", "50000")
    await until(lambda: gateway.connection.health().status is DependencyStatus.DOWN)
    told = gateway.connection.health()
    system.journal.blind = False
    await until(lambda: gateway.connection.health().status is DependencyStatus.OK)

    assert told.required
    assert "the journal cannot be written" in told.detail
