"""Orders: place, cancel, amend, replace; each answered once it is durable and carried out."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from fauxchange.contracts.exchange.messages import AmendRequest, OrderRequest
from fauxchange.contracts.exchange.refusals import refusal
from fauxchange.data.ports import FillQuery, OrderQuery
from fauxchange.domain.errors import Conflict, FauxchangeError, InvariantViolation, NotFound, Rejected, Unavailable
from fauxchange.domain.listings import Listing
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import OPEN_STATUSES, ORDER_TYPES, FillRecord, OrderRecord
from fauxchange.services.exchange.core.commands import cancel_all
from fauxchange.services.exchange.core.layout import (
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_PRICE_TICKS,
    C_REFUSED,
    E_KIND,
    E_ORDER_ID,
)
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CANCEL_REPLACE,
    COMMAND_PLACE,
    EVENT_ORDER_CANCELED,
    RejectReason,
)
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.live_orders import (
    MAX_FILLS_KEPT,
    OnItsWay,
    Pending,
    Placed,
    fingerprint_of,
)
from fauxchange.services.exchange.service.order_lists import OrderList, OrderSink
from fauxchange.services.exchange.service.placing import amend_row, cancel_row, place_row, plain_order
from fauxchange.services.exchange.service.requests import Origin, Outcome, Placement
from fauxchange.services.exchange.service.use_cases import UseCases, refused

Done = Callable[[Outcome], None]
CheckBefore = Callable[[int, OrderRequest], str | None]
"""A user's own rules: return why an order of an account is refused, or None."""

CLIENT_PREFIX = "client:"
MAX_REF_DIGITS = 18


class Trading(UseCases):
    """What traders do."""

    check_before: CheckBefore | None = None

    # Placing

    def submit_order(self, account: int, request: OrderRequest, origin: Origin, done: Done) -> None:
        """Place an order; `done` hears once what came of it, when that is durable.

        Raises: InvalidRequest, NotFound, Conflict, Unavailable; then `done` hears nothing
        """
        row = place_row(account, self.venue.registry.listing(request.symbol), request)
        self._submit(account, request, row, origin, done)

    def submit_plain(self, account: int, request: OrderRequest, origin: Origin, sink: OrderSink, token: Any) -> bool:
        """Place an order with others in columns; `sink` hears once what came of it, when that is durable.

        False, and nothing is done, if it is no plain order, or has a client order id that stands for something.

        Raises: InvalidRequest, NotFound, Unavailable; then the sink hears nothing
        """
        if self.check_before is not None:
            return False
        registry, name = self.venue.registry, request.client_order_id
        order = plain_order(account, registry.listing(request.symbol), request)
        if order is None or (name is not None and self.venue.orders.is_taken(account, name)):
            return False
        self.check_read_models()
        orders = self.sequencer.open_list(self._tell_list)
        orders.add(order, name, origin, sink, token)
        if name is not None:
            self.venue.orders.reserve(account, name, orders)
        return True

    async def place_order(self, account: int, request: OrderRequest, origin: Origin) -> Placement:
        """Place an order and wait until it is durable; a rejected one is told by its status.

        Raises: InvalidRequest, NotFound, Conflict, Unavailable
        """
        return await _outcome_of(lambda done: self.submit_order(account, request, origin, done))

    async def place_orders(self, account: int, requests: Sequence[OrderRequest], origin: Origin) -> list[Outcome]:
        """Place several orders in their order, each accepted or refused by itself."""
        outcomes: list[Outcome | None] = [None] * len(requests)
        complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        missing = len(requests)

        def take(index: int, outcome: Outcome) -> None:
            nonlocal missing
            outcomes[index] = outcome
            missing -= 1
            if missing == 0 and not complete.done():
                complete.set_result(None)

        for index, request in enumerate(requests):
            try:
                self.submit_order(account, request, origin, lambda outcome, index=index: take(index, outcome))  # type: ignore[misc]  # mypy has no type for a default
            except FauxchangeError as exc:
                take(index, Outcome(failure=exc))
        if missing:
            await complete
        return [outcome for outcome in outcomes if outcome is not None]

    async def replace_order(self, account: int, ref: str, request: OrderRequest, origin: Origin) -> Placement:
        """Put a new order in the place of an open one: both halves happen, or neither.

        Raises: InvalidRequest, NotFound, Conflict, Rejected, Unavailable
        """
        order_id = await self._order_id(account, ref)
        listing = self.registry.listing(request.symbol)
        row = place_row(account, listing, request)
        row[C_KIND], row[C_ORDER_ID] = COMMAND_CANCEL_REPLACE, order_id
        return await _outcome_of(lambda done: self._submit(account, request, row, origin, done))

    def _submit(self, account: int, request: OrderRequest, row: list[int], origin: Origin, done: Done) -> None:
        name = request.client_order_id
        fingerprint = 0 if name is None else fingerprint_of(row)
        if name is not None and self._repeats(account, name, fingerprint, done):
            return
        verdict = None if self.check_before is None else self.check_before(account, request)
        if verdict is not None:
            _refuse_row(row)
        entry = Entry(row, Note(origin, client_order_id=name, verdict=verdict, fingerprint=fingerprint))
        if name is None:
            entry.done = lambda over: done(self._placed(over))
            self.submit(entry)
            return
        named = OnItsWay(entry, fingerprint)
        entry.done = partial(self._tell_placed, named, done)
        self.submit(entry)
        self.venue.orders.reserve(account, name, named)

    def _tell_list(self, orders: OrderList) -> None:
        """Tell what came of the orders of a list, in their order."""
        if orders.failure is not None:
            self._tell_each(orders, 0, len(orders))
            # It may be carried out all the same, with nobody left to be told.
            orders.sinks, orders.tokens, orders.waiting = [], [], {}
            return
        at = 0
        for begun, resting in orders.runs:
            self._tell_each(orders, at, begun)
            at = begun + len(resting)
            if resting.left < len(resting):
                # Something has come of some of them since, in the same batch; each is told as it stands.
                self._tell_each(orders, begun, at, resting.first_order_id)
            else:
                self._tell_resting(orders, begun, resting)
        self._tell_each(orders, at, len(orders))
        orders.forget()
        self.venue.orders.forget_names(self.clock.now_ns)

    def _tell_each(self, orders: OrderList, begun: int, end: int, first_order_id: int = 0) -> None:
        """Tell of orders one by one; those that rest have ids from `first_order_id` on."""
        in_memory = self.venue.orders
        for index in range(begun, end):
            if orders.failure is not None:
                # Each its own, since each may be raised.
                failure = Unavailable(
                    orders.failure.message, code=orders.failure.code, retry_after_s=orders.failure.retry_after_s
                )
                outcome = Outcome(failure=failure)
            elif first_order_id:
                record = in_memory[first_order_id + index - begun]
                outcome = Outcome(Placement(record, in_memory.fills(record.order_id)))
            else:
                outcome = self._placed(orders.entries[index], orders)
            _tell(orders.sinks[index].told, orders.tokens[index], outcome)
            for each in orders.waiting.pop(index, ()):
                _tell(each, outcome.again())

    def _tell_resting(self, orders: OrderList, begun: int, resting: RestingOrders) -> None:
        at, end = begun, begun + len(resting)
        for sink, group in groupby(orders.sinks[begun:end]):
            until = at + len(list(group))
            _tell(sink.rested, resting, at - begun, orders.tokens[at:until])
            at = until
        for index in sorted(orders.waiting):
            if begun <= index < end:
                record = self.venue.orders[resting.first_order_id + index - begun]
                for each in orders.waiting.pop(index):
                    _tell(each, Outcome(Placement(record, repeated=True)))

    def when_placed(self, account: int, client_order_id: str, then: Callable[[], None]) -> bool:
        """Call `then` once the order of a client order id, which is on its way, has been placed or refused.

        False, and nothing is done, if there is none on its way, or nobody knows what became of it.
        """
        named = self.venue.orders.named(account, client_order_id)
        if not isinstance(named, Pending) or named.failure is not None:
            return False
        named.waiting.append(lambda _outcome: then())
        return True

    def _tell_placed(self, named: OnItsWay, done: Done, entry: Entry) -> None:
        named.tell(self._placed(entry), done)

    def _repeats(self, account: int, name: str, fingerprint: int, done: Done) -> bool:
        """Answer an order that was asked for before, if it was. Raises: Conflict if it was another one."""
        orders = self.venue.orders
        orders.forget_names(self.clock.now_ns)
        named = orders.named(account, name)
        if named is None:
            return False
        if named.fingerprint != fingerprint:
            raise Conflict(
                f"client order id {name} belongs to another order, open or finished in the last 24 hours",
                code="duplicate_client_order_id",
                field="client_order_id",
            )
        if isinstance(named, Pending):
            if named.failure is not None:
                # It is not known yet whether it was stored.
                raise named.failure
            named.waiting.append(done)
            return True
        record = self.venue.orders.get(named.order_id)
        if record is not None:
            placement = Placement(record, self.venue.orders.fills(record.order_id), repeated=True)
            asyncio.get_running_loop().call_soon(done, Outcome(placement))
            return True
        self.spawn(self._tell_stored(named.order_id, done), "repeated order")
        return True

    async def _tell_stored(self, order_id: int, done: Done) -> None:
        try:
            placement = await self._stored(order_id)
            placement.repeated = True
            outcome = Outcome(placement)
        except FauxchangeError as exc:
            outcome = Outcome(failure=exc)
        done(outcome)

    def _placed(self, entry: Entry, orders: OrderList | None = None) -> Outcome:
        """Return what came of an order; `orders` is the list that it came in."""
        if entry.failure is not None:
            return Outcome(failure=entry.failure)
        record: OrderRecord | None = entry.result
        if record is None:
            refusal_of_old = refused(entry.events)
            if refusal_of_old is None:
                raise InvariantViolation(f"command {entry.sequence} has neither an order nor a refusal")
            if entry.note.client_order_id is not None:
                self.venue.orders.release(entry.account, entry.note.client_order_id, orders or entry)
            return Outcome(failure=refusal_of_old)
        return Outcome(Placement(record, self.venue.orders.fills(record.order_id) if record.cum_lots else ()))

    # Changing and ending

    def submit_cancel(self, account: int, ref: str, origin: Origin, done: Done) -> None:
        """Cancel an open order; `done` hears once what came of it. Raises: NotFound, Rejected, Unavailable."""
        if self._waits_for(account, ref, lambda: self.submit_cancel(account, ref, origin, done), done):
            return
        record = self._in_memory(account, ref)
        if record is None:
            self.spawn(self._tell_finished(account, ref, done), "finished order")
            return
        _check_is_open(record)
        self._submit_change(cancel_row(account, record.order_id), record, origin, done)

    def submit_amend(self, account: int, ref: str, request: AmendRequest, origin: Origin, done: Done) -> None:
        """Amend an open order; `done` hears once what came of it.

        Raises: InvalidRequest, NotFound, Rejected, Unavailable
        """
        if self._waits_for(account, ref, lambda: self.submit_amend(account, ref, request, origin, done), done):
            return
        record = self._in_memory(account, ref)
        if record is None:
            self.spawn(self._tell_finished(account, ref, done), "finished order")
            return
        _check_is_open(record)
        listing = self.registry.listing(record.symbol)
        row = amend_row(account, listing, record, request)
        self._check_change(account, record, row, listing)
        self._submit_change(row, record, origin, done)

    async def cancel_order(self, account: int, ref: str, origin: Origin) -> Placement:
        """Cancel an open order. Raises: NotFound, Rejected (it is not open any more), Unavailable."""
        return await _outcome_of(lambda done: self.submit_cancel(account, ref, origin, done))

    async def amend_order(self, account: int, ref: str, request: AmendRequest, origin: Origin) -> Placement:
        """Amend an open order. Raises: InvalidRequest, NotFound, Rejected, Unavailable."""
        return await _outcome_of(lambda done: self.submit_amend(account, ref, request, origin, done))

    async def cancel_all(self, account: int, symbol: str | None, origin: Origin) -> list[OrderRecord]:
        """Cancel all open orders of an account, or those of one symbol; return them. Raises: NotFound, Unavailable."""
        command = cancel_all(account) if symbol is None else cancel_all(account, self.registry.listing(symbol).number)
        entry = await self.carry_out(row_of(command), Note(origin))
        ids = [event[E_ORDER_ID] for event in entry.events if event[E_KIND] == EVENT_ORDER_CANCELED]
        found = [self.venue.orders.get(order_id) for order_id in ids]
        if all(record is not None for record in found):
            return [record for record in found if record is not None]
        return [(await self._stored(order_id)).order for order_id in ids]

    def _submit_change(self, row: list[int], record: OrderRecord, origin: Origin, done: Done) -> None:
        def over(entry: Entry) -> None:
            failure = entry.failure or refused(entry.events)
            if failure is None:
                done(Outcome(Placement(record, self.venue.orders.fills(record.order_id))))
            else:
                if isinstance(failure, Rejected):
                    failure.order = record
                done(Outcome(failure=failure))

        self.submit(Entry(row, Note(origin), over))

    def _waits_for(self, account: int, ref: str, change: Callable[[], None], done: Done) -> bool:
        """Do a change as soon as the order that it means, which is on its way, has been placed; say whether it is."""
        named = self._on_its_way(account, ref)
        if named is None:
            return False

        def placed(_outcome: Outcome) -> None:
            try:
                change()
            except FauxchangeError as exc:
                done(Outcome(failure=exc))

        named.waiting.append(placed)
        return True

    def _on_its_way(self, account: int, ref: str) -> Pending | None:
        """Return the order of a client order id that is not placed yet. Raises: Unavailable if nobody knows."""
        if not ref.startswith(CLIENT_PREFIX):
            return None
        named = self.venue.orders.named(account, ref.removeprefix(CLIENT_PREFIX))
        if not isinstance(named, Pending):
            return None
        if named.failure is not None:
            # Whether it was stored is being found out; "there is no such order" could be a lie.
            raise named.failure
        return named

    def _check_change(self, account: int, record: OrderRecord, row: list[int], listing: Listing) -> None:
        """Ask the user's own rules about an order as it would be. Raises: Rejected; nothing has happened then."""
        if self.check_before is None:
            return
        instrument = listing.instrument
        price = row[C_PRICE_TICKS]
        changed = OrderRequest(
            symbol=record.symbol,
            side="sell" if record.side else "buy",
            type=ORDER_TYPES[record.order_type],
            quantity=instrument.quantities.text(row[C_ORDER_LOTS]),
            price=instrument.prices.text(price) if price else None,
            client_order_id=record.client_order_id,
        )
        verdict = self.check_before(account, changed)
        if verdict is not None:
            code, detail = refusal(RejectReason.PRE_TRADE_REFUSED)
            reason = RejectReason.PRE_TRADE_REFUSED.value
            raise Rejected(f"{detail}: {verdict}", code=code, reason=reason, order=record)

    async def _tell_finished(self, account: int, ref: str, done: Done) -> None:
        """Answer for an order that is not in memory: it has finished, or there never was one."""
        try:
            outcome = Outcome(failure=_finished((await self.order(account, ref)).order))
        except FauxchangeError as exc:
            outcome = Outcome(failure=exc)
        done(outcome)

    # Finding

    async def order(self, account: int, ref: str) -> Placement:
        """Return an order of an account by its id, or by `client:` and its client order id. Raises: NotFound."""
        await self._placed_or_known(account, ref)
        record = self._in_memory(account, ref)
        if record is not None:
            return await self._with_fills(record)
        await self.projector.flush()
        if ref.startswith(CLIENT_PREFIX):
            name = ref.removeprefix(CLIENT_PREFIX)
            page = await self.read_models.orders(OrderQuery(account=account, client_order_id=name, limit=1))
            stored = page.items[0] if page.items else None
        else:
            order_id = parse_order_id(ref)
            stored = None if order_id is None else await self.read_models.order(order_id)
        if stored is None or stored.account != account:
            raise _unknown_order(ref)
        return await self._with_fills(stored)

    async def _placed_or_known(self, account: int, ref: str) -> None:
        """Wait for an order that is on its way. Raises: Unavailable while nobody knows whether it was stored."""
        named = self._on_its_way(account, ref)
        if named is None:
            return
        placed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def over(_outcome: Outcome) -> None:
            if not placed.done():
                placed.set_result(None)

        named.waiting.append(over)
        await placed

    async def _with_fills(self, record: OrderRecord) -> Placement:
        """Return an order with its fills: those in memory, or where some are missing there, those that are stored."""
        fills = self.venue.orders.fills(record.order_id)
        if sum(fill.last_lots for fill in fills) == record.cum_lots:
            return Placement(record, fills)
        await self.projector.flush()
        page = await self.read_models.fills(
            FillQuery(order_id=record.order_id, account=record.account, oldest_first=True, limit=MAX_FILLS_KEPT)
        )
        return Placement(record, page.items)

    async def _order_id(self, account: int, ref: str) -> int:
        return (await self.order(account, ref)).order.order_id

    async def _stored(self, order_id: int) -> Placement:
        record = self.venue.orders.get(order_id)
        if record is None:
            await self.projector.flush()
            record = await self.read_models.order(order_id)
        if record is None:
            raise _unknown_order(str(order_id))
        return await self._with_fills(record)

    def _in_memory(self, account: int, ref: str) -> OrderRecord | None:
        if ref.startswith(CLIENT_PREFIX):
            named = self.venue.orders.named(account, ref.removeprefix(CLIENT_PREFIX))
            order_id = named.order_id if isinstance(named, Placed) else 0
        else:
            order_id = parse_order_id(ref) or 0
        record = self.venue.orders.get(order_id)
        return record if record is not None and record.account == account else None

    def fills_in_memory(self, order_id: int) -> Sequence[FillRecord]:
        """Return the fills of an order that are known without asking the store."""
        return self.venue.orders.fills(order_id)


def parse_order_id(ref: str) -> int | None:
    """Return the number of an order id's text, None if it is none."""
    if ref.isascii() and ref.isdigit() and len(ref) <= MAX_REF_DIGITS and not ref.startswith("0"):
        return int(ref)
    return None


async def _outcome_of(submit: Callable[[Done], None]) -> Placement:
    result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def done(outcome: Outcome) -> None:
        # The caller may have gone away meanwhile; the order is carried out all the same.
        if not result.done():
            result.set_result(outcome)

    submit(done)
    outcome = await result
    if outcome.placement is None:
        raise outcome.failure or InvariantViolation("an outcome is a placement or a failure")
    return outcome.placement


def _tell(hears: Callable[..., None], *what: Any) -> None:
    try:
        hears(*what)
    # A bug in one answer must not keep the others from theirs; the supervisor hears of it and stops the process.
    except Exception as exc:
        asyncio.get_running_loop().call_exception_handler({"message": "an answer could not be given", "exception": exc})


def _refuse_row(row: list[int]) -> None:
    """Mark a row as refused by a user's own check: the kernel rejects it.

    A cancel-replace that is refused is a new order that is: the old one stays as it is.
    """
    row[C_KIND], row[C_REFUSED] = COMMAND_PLACE, 1


def _check_is_open(record: OrderRecord) -> None:
    if record.status not in OPEN_STATUSES:
        raise _finished(record)


def _unknown_order(ref: str) -> NotFound:
    return NotFound(f"the account has no order {ref}", code="unknown_order", field="order_id")


def _finished(record: OrderRecord) -> Rejected:
    code, detail = refusal(RejectReason.ORDER_FINISHED)
    return Rejected(detail, code=code, reason=RejectReason.ORDER_FINISHED, order=record)
