"""The exchange over WebSocket: its channels, and order entry.

A client that has proven who it is (`auth`) may read the private channels of its account, and place, amend and cancel
orders. Each operation is answered once what it did is durable. Operations of one connection take effect in the order in
which they were sent; answers come when they are ready, and carry the operation's `id`. There is no task per order:
a frame is decoded and handed to the service, which calls back.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from json.encoder import encode_basestring as _quoted
from typing import Annotated, Any, Final

import msgspec

from fauxchange.contracts.exchange.messages import (
    MAX_BATCH_ORDERS,
    AmendRequest,
    AmountText,
    BatchResult,
    ClientOrderId,
    OrderMessage,
    OrderRequest,
    QuickOrder,
    SymbolName,
)
from fauxchange.contracts.exchange.render import (
    order_json,
    order_message,
    refusal_message,
    rejection_message,
    resting_json,
)
from fauxchange.domain.errors import (
    Conflict,
    FauxchangeError,
    InvalidRequest,
    Rejected,
    Unauthenticated,
)
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import OrderRecord
from fauxchange.platform.errors import answerable
from fauxchange.platform.streams.endpoint import Heartbeat, Operation, Peer, Sessions, StreamLimits, StreamMetrics
from fauxchange.platform.streams.topics import Topic
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.api import ExchangeApi, Unwatch
from fauxchange.services.exchange.service.leftovers import LeavesNothing, Leftovers
from fauxchange.services.exchange.service.limits import Allowances
from fauxchange.services.exchange.service.requests import Caller, Origin, Outcome, Placement

PATH = "/api/v1/exchange/ws"
SIGNED_PREFIX: Final = b"WS"
CLOSE_KEY_REVOKED: Final = 4001


class Authenticate(Operation, tag="auth", kw_only=True):
    """Prove who this is; `signature` is over `timestamp + nonce + "WS" + path`."""

    key: str
    timestamp: str | int
    signature: str
    window: str | int | None = None
    nonce: str | None = None
    cancel_on_disconnect: bool = False
    """Cancel what this session has placed and is still open when the connection ends, however it ends."""


class Place(Operation, tag="place", kw_only=True):
    """Place an order."""

    order: OrderRequest


class QuickPlace(Place, tag="place", kw_only=True):
    """Place an order as most are."""

    order: QuickOrder


class PlaceBatch(Operation, tag="place_batch", kw_only=True):
    """Place several orders in their order, each accepted or refused by itself."""

    orders: Annotated[list[OrderRequest], msgspec.Meta(min_length=1, max_length=MAX_BATCH_ORDERS)]


class Change(Operation, kw_only=True):
    """What is done to one open order, named by one of its ids."""

    order_id: str | None = None
    client_order_id: ClientOrderId | None = None


class Cancel(Change, tag="cancel", kw_only=True):
    """Cancel an open order."""


class Amend(Change, tag="amend", kw_only=True):
    """Amend an open order."""

    price: AmountText | None = None
    quantity: AmountText | None = None


class CancelAll(Operation, tag="cancel_all", kw_only=True):
    """Cancel all open orders of the account, or those in one symbol."""

    symbol: SymbolName | None = None


OPERATIONS: Final = (Authenticate, Place, PlaceBatch, Cancel, Amend, CancelAll)
QUICK: Final = (QuickPlace,)


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """What came of an operation; `reason` is the kernel's number, `repeated` says that the order was placed before."""

    op: str
    id: str | int | None
    ok: bool
    code: str | None = None
    detail: str | None = None
    field: str | None = None
    reason: int | None = None
    retry_after_ms: int | None = None
    repeated: bool = False
    order: OrderMessage | msgspec.Raw | None = None
    orders: list[OrderMessage] | None = None
    results: list[BatchResult] | None = None


_encode = msgspec.json.Encoder().encode


def exchange_endpoint(
    service: ExchangeApi,
    access: Access,
    rates: Allowances,
    *,
    heartbeat: Heartbeat,
    limits: StreamLimits,
    metrics: StreamMetrics,
) -> StreamEndpoint:
    """Return the endpoint of the channels `book`, `trades`, `orders` and `balances`, and of order entry."""
    return StreamEndpoint(
        PATH,
        hub=service.hub,
        heartbeat=heartbeat,
        limits=limits,
        metrics=metrics,
        session=Sessions(lambda peer: ExchangeSession(peer, service, access, rates), OPERATIONS, QUICK),
    )


class ExchangeSession:
    """One client of the exchange."""

    def __init__(self, peer: Peer, service: ExchangeApi, access: Access, rates: Allowances) -> None:
        self._peer = peer
        self._service = service
        self._access = access
        self._rates = rates
        self._key = ""
        self._caller: Caller | None = None
        self._origin = Origin("")
        self._placing: dict[str, Change | None] = {}
        """Orders on their way by client order id, each with the operation that waits for it; no plain ones."""
        self._over = False
        self._leftovers: LeavesNothing | None = None
        self._unwatch: Unwatch | None = None
        self._handlers: dict[type[Operation], Callable[[Any], None]] = {
            Authenticate: self._authenticate,
            Place: self._place,
            QuickPlace: self._place,
            PlaceBatch: self._place_batch,
            Cancel: self._cancel,
            Amend: self._amend,
            CancelAll: self._cancel_all,
        }

    def resolve(self, channel: str, symbol: str | None, /) -> Sequence[Topic]:
        """Return the topics of a channel for this client. Raises: FauxchangeError."""
        return self._service.resolve_topics(channel, symbol, self._caller)

    def act(self, operation: Operation) -> None:
        """Carry out an operation."""
        try:
            self._handlers[type(operation)](operation)
        except FauxchangeError as exc:
            self._peer.answer(self._refusal(operation, exc))
            if self._caller is not None and isinstance(exc, Unauthenticated):
                self._still_stands()

    def ended(self) -> None:
        """Cancel what this session leaves behind, if it asked for that."""
        self._over = True
        if self._leftovers is not None:
            self._leftovers.cancel()
        if self._unwatch is not None:
            self._unwatch()

    # Who it is

    def _authenticate(self, operation: Authenticate) -> None:
        if self._caller is not None:
            raise Conflict("the session is authenticated; open another for another key", code="already_authenticated")
        window = operation.window
        caller = self._access.signed(
            key=operation.key,
            timestamp=str(operation.timestamp),
            signature=operation.signature,
            message=SIGNED_PREFIX + self._peer.path.encode(),
            window=None if window is None else str(window),
            nonce=operation.nonce,
        )
        if self._rates.is_certain(caller):
            self._peer.answer(self._begin(operation, caller))
            return
        # Another process has the last word: what follows waits for it.
        self._peer.owe()
        self._peer.hold()
        self._service.spawn(self._admit(operation, caller), "session admission")

    async def _admit(self, operation: Authenticate, caller: Caller) -> None:
        try:
            await self._rates.admit(caller, 0)
            unwatch = await self._service.watch(caller.account)
            if self._over:
                unwatch()
                return
            self._unwatch = unwatch
            payload = self._begin(operation, caller)
        except FauxchangeError as exc:
            payload = self._refusal(operation, exc)
        finally:
            self._peer.release()
        self._peer.settle(payload)

    def _begin(self, operation: Authenticate, caller: Caller) -> bytes:
        """Let the session be this caller's; return the answer."""
        context = self._peer.context
        self._key, self._caller = operation.key, caller
        self._origin = Origin(caller.actor, self._peer.source, context.request_id, context.trace_id)
        self._peer.guard = self._still_stands
        if operation.cancel_on_disconnect:
            session = self._service.kernel_session(caller.account, self._origin)
            self._leftovers = session or Leftovers(self._service, caller.account, self._origin)
            self._origin = self._leftovers.origin
        return _encode(Answer(op=operation.op, id=operation.id, ok=True))

    def _still_stands(self) -> bool:
        """Say whether the key may still be used; if not, the session is over."""
        if self._access.stands(self._key):
            return True
        self._peer.close(CLOSE_KEY_REVOKED, "key_revoked")
        return False

    def _account(self, cost: int = 1) -> int:
        """Return whose orders these are. Raises: Unauthenticated, RateLimited."""
        if self._caller is None:
            raise Unauthenticated("order entry wants an authenticated session: send `auth` first")
        if not self._access.stands(self._key):
            raise Unauthenticated("the API key has been revoked", code="key_revoked")
        self._rates.take(self._caller.account, cost)
        return self._caller.account

    # Placing

    def _place(self, operation: Place) -> None:
        order, account = operation.order, self._account()
        # A session that leaves nothing behind has to know the records of its orders.
        if self._leftovers is None and self._service.submit_plain(account, order, self._origin, self, operation):
            self._peer.owe()
            return
        self._service.submit_order(account, order, self._origin, partial(self._placed, operation))
        self._peer.owe()
        if order.client_order_id is not None:
            self._placing.setdefault(order.client_order_id, None)

    def rested(self, orders: RestingOrders, begun: int, tokens: Sequence[Place]) -> None:
        """Answer for plain orders that rest as they were placed."""
        payloads = []
        texts = resting_json(orders, begun, len(tokens), self._service.listing_of)
        for operation, text in zip(tokens, texts, strict=True):
            frame_id = operation.id
            told = _quoted(frame_id) if isinstance(frame_id, str) else "null" if frame_id is None else frame_id
            payloads.append(f'{{"op":"place","id":{told},"ok":true,"order":{text}}}'.encode())
        self._peer.settle_all(payloads)

    def told(self, token: Place, outcome: Outcome) -> None:
        """Answer for a plain order, whatever came of it."""
        self._peer.settle(self._answer(token, outcome))

    def _placed(self, operation: Place, outcome: Outcome) -> None:
        self._note(outcome)
        self._peer.settle(self._answer(operation, outcome))
        self._arrived(operation.order)

    def _place_batch(self, operation: PlaceBatch) -> None:
        account = self._account(len(operation.orders))
        results: list[BatchResult | None] = [None] * len(operation.orders)
        missing = len(results)

        def take(index: int, outcome: Outcome) -> None:
            nonlocal missing
            results[index] = self._result(outcome)
            missing -= 1
            if missing == 0:
                whole = [result for result in results if result is not None]
                self._peer.settle(_encode(Answer(op=operation.op, id=operation.id, ok=True, results=whole)))

        def placed(index: int, outcome: Outcome) -> None:
            self._note(outcome)
            take(index, outcome)
            self._arrived(operation.orders[index])

        self._peer.owe()
        for index, order in enumerate(operation.orders):
            try:
                self._service.submit_order(account, order, self._origin, partial(placed, index))
            except FauxchangeError as exc:
                take(index, Outcome(failure=answerable(exc)))
                continue
            if order.client_order_id is not None:
                self._placing.setdefault(order.client_order_id, None)

    def _arrived(self, order: OrderRequest) -> None:
        """Carry out what has waited for an order to be placed."""
        waiting = None if order.client_order_id is None else self._placing.pop(order.client_order_id, None)
        if waiting is not None:
            self._act_at_last(waiting)

    def _note(self, outcome: Outcome) -> None:
        """Remember what this session would leave behind."""
        if self._leftovers is not None and outcome.placement is not None and not outcome.placement.repeated:
            self._leftovers.add(outcome.placement.order)
            if self._over:
                self._leftovers.cancel()

    # Changing

    def _cancel(self, operation: Cancel) -> None:
        ref = _reference(operation)
        if not self._waits_for_order(operation):
            done = partial(self._changed, operation)
            self._service.submit_cancel(self._account(), ref, self._origin, done)
            self._peer.owe()

    def _amend(self, operation: Amend) -> None:
        ref = _reference(operation)
        if not self._waits_for_order(operation):
            request = AmendRequest(price=operation.price, quantity=operation.quantity)
            done = partial(self._changed, operation)
            self._service.submit_amend(self._account(), ref, request, self._origin, done)
            self._peer.owe()

    def _changed(self, operation: Change, outcome: Outcome) -> None:
        self._peer.settle(self._answer(operation, outcome))

    def _waits_for_order(self, operation: Change) -> bool:
        """Let an operation wait if it is about an order that is on its way, and all that follow with it."""
        name = operation.client_order_id
        if name is None or self._caller is None:
            return False
        if name in self._placing:
            self._placing[name] = operation
        elif not self._service.when_placed(self._caller.account, name, partial(self._act_at_last, operation)):
            return False
        self._peer.hold()
        return True

    def _act_at_last(self, waiting: Operation) -> None:
        """Carry out what has waited for an order."""
        if not self._over:
            self.act(waiting)
        self._peer.release()

    def _cancel_all(self, operation: CancelAll) -> None:
        account = self._account()
        self._peer.owe()
        # What is sent after it must not be canceled by it.
        self._peer.hold()
        canceling = self._service.cancel_all(account, operation.symbol, self._origin)
        self._service.spawn(self._canceled_all(operation, canceling), "cancel all")

    async def _canceled_all(self, operation: CancelAll, canceling: Awaitable[list[OrderRecord]]) -> None:
        try:
            records = await canceling
            payload = _encode(
                Answer(
                    op=operation.op,
                    id=operation.id,
                    ok=True,
                    orders=[self._message(Placement(each)) for each in records],
                )
            )
        except FauxchangeError as exc:
            payload = self._refusal(operation, exc)
        finally:
            self._peer.release()
        self._peer.settle(payload)

    # Answering

    def _answer(self, operation: Operation, outcome: Outcome) -> bytes:
        placement = outcome.placement
        if placement is None:
            return self._refusal(operation, outcome.failure or FauxchangeError("nothing is known of the outcome"))
        record = placement.order
        order = msgspec.Raw(order_json(record, self._service.listing_of(record.symbol), placement.fills))
        answer = Answer(op=operation.op, id=operation.id, ok=True, order=order, repeated=placement.repeated)
        if placement.refused and isinstance(operation, Place):
            refusal = rejection_message(record.reason)
            answer.ok, answer.code, answer.detail, answer.reason = False, refusal.code, refusal.detail, refusal.reason
        return _encode(answer)

    def _result(self, outcome: Outcome) -> BatchResult:
        placement = outcome.placement
        if placement is None:
            failure = outcome.failure or FauxchangeError("nothing is known of the outcome")
            return BatchResult(order=None, refusal=refusal_message(failure))
        refusal = rejection_message(placement.order.reason) if placement.refused else None
        return BatchResult(order=self._message(placement), refusal=refusal)

    def _refusal(self, operation: Operation, exc: FauxchangeError) -> bytes:
        failure = answerable(exc)
        answer = Answer(
            op=operation.op,
            id=operation.id,
            ok=False,
            code=failure.code,
            detail=failure.message,
            field=failure.field,
            retry_after_ms=None if failure.retry_after_s is None else math.ceil(failure.retry_after_s * 1_000),
        )
        if isinstance(failure, Rejected):
            answer.reason = failure.reason
            if isinstance(failure.order, OrderRecord):
                answer.order = self._message(Placement(failure.order))
        return _encode(answer)

    def _message(self, placement: Placement) -> OrderMessage:
        record = placement.order
        return order_message(record, self._service.listing_of(record.symbol), placement.fills)


def _reference(operation: Change) -> str:
    """Return how the service knows the order that an operation is about. Raises: InvalidRequest."""
    if operation.order_id is not None and operation.client_order_id is not None:
        raise InvalidRequest("name the order by one of its ids, not by both", field="client_order_id")
    if operation.client_order_id is not None:
        return f"client:{operation.client_order_id}"
    if operation.order_id is None:
        raise InvalidRequest("name the order: order_id or client_order_id", code="missing_field", field="order_id")
    return operation.order_id
