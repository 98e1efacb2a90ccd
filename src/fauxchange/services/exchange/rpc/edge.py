"""The gRPC service: every method with its way of knowing the caller."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message

from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, RateLimited, Rejected
from fauxchange.domain.orders import OrderRecord
from fauxchange.platform.errors import edge_status, trailing_metadata
from fauxchange.platform.rpc.batch_streams import TRANSPORT, Batch, BatchStreams, Resolve, Wanted
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.tracing import REQUEST_ID_HEADER, current_request
from fauxchange.services.exchange.rpc.accounts import AccountCalls
from fauxchange.services.exchange.rpc.callers import Asker, Callers, Context
from fauxchange.services.exchange.rpc.markets import MarketCalls
from fauxchange.services.exchange.rpc.rendering import Rendering
from fauxchange.services.exchange.rpc.sessions import OrderSession
from fauxchange.services.exchange.rpc.trading import TradingCalls
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.channels import BALANCES, BOOK, ORDERS, TRADES
from fauxchange.services.exchange.service.limits import Allowances
from fauxchange.services.exchange.service.requests import Caller

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ExchangeService"].full_name

Behaviour = Callable[[Any, Asker], Awaitable[Message]]
Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"


class ExchangeRpc:
    """The gRPC edge.

    Units: seconds of wall time: flush_interval_s is the longest that a message of a stream waits for its batch,
           cancel_retry_s the wait before cancels are tried again that a session left behind and nobody could store
    """

    def __init__(
        self,
        service: ExchangeApi,
        *,
        access: Access,
        rates: Allowances,
        limits: StreamLimits,
        heartbeat: Heartbeat,
        metrics: StreamMetrics,
        flush_interval_s: float,
        max_streams: int,
        cancel_retry_s: float = 0.25,
    ) -> None:
        self._service = service
        self._rendering = Rendering(service)
        self._callers = Callers(access, rates)
        self._limits = limits
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._max_streams = max_streams
        self._cancel_retry_s = cancel_retry_s
        self._streams = BatchStreams(
            service.hub, limits=limits, heartbeat=heartbeat, metrics=metrics, flush_interval_s=flush_interval_s
        )
        self._sessions: dict[OrderSession, None] = {}
        self._is_stopping = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handlers of all methods; streams are handed on as bytes, already serialised."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {**self._market_methods(), **self._trading_methods(), **self._account_methods(), **self._stream_methods()},
        )

    def end_streams(self) -> None:
        """End all streams because the server stops; sessions end with the server itself."""
        self._is_stopping = True
        self._streams.end_all()

    def drop_readers(self, failure: FauxchangeError) -> None:
        """End all streams and sessions there are with a failure, though the server goes on."""
        self._streams.fail_all(failure)
        for session in tuple(self._sessions):
            session.fail(failure)

    # Calls

    def _market_methods(self) -> Handlers:
        calls = MarketCalls(self._service)
        methods: dict[str, tuple[Callable[[Any], Awaitable[Message]], type[Message]]] = {
            "ListInstruments": (calls.list_instruments, pb.ListInstrumentsRequest),
            "GetBook": (calls.get_book, pb.GetBookRequest),
            "ListTrades": (calls.list_trades, pb.ListTradesRequest),
        }
        return {name: _unary(partial(_public, method), request) for name, (method, request) in methods.items()}

    def _trading_methods(self) -> Handlers:
        calls = TradingCalls(self._service)
        methods: dict[str, tuple[Behaviour, type[Message]]] = {
            "PlaceOrder": (calls.place_order, pb.PlaceOrderRequest),
            "PlaceOrders": (calls.place_orders, pb.PlaceOrdersRequest),
            "CancelOrder": (calls.cancel_order, pb.CancelOrderRequest),
            "CancelAll": (calls.cancel_all, pb.CancelAllRequest),
            "AmendOrder": (calls.amend_order, pb.AmendOrderRequest),
            "ReplaceOrder": (calls.replace_order, pb.ReplaceOrderRequest),
            "GetOrder": (calls.get_order, pb.GetOrderRequest),
            "ListOrders": (calls.list_orders, pb.ListOrdersRequest),
            "ListFills": (calls.list_fills, pb.ListFillsRequest),
            "GetBalances": (calls.get_balances, pb.GetBalancesRequest),
            "ListLedger": (calls.list_ledger, pb.ListLedgerRequest),
        }
        return {
            name: _unary(partial(self._signed, _full_name(name), method), request)
            for name, (method, request) in methods.items()
        }

    def _account_methods(self) -> Handlers:
        calls = AccountCalls(self._service)
        methods: dict[str, tuple[Behaviour, type[Message]]] = {
            "CreateAccount": (calls.create_account, pb.CreateAccountRequest),
            "GetAccount": (calls.get_account, pb.GetAccountRequest),
            "ListAccounts": (calls.list_accounts, pb.ListAccountsRequest),
            "SetAccountStatus": (calls.set_account_status, pb.SetAccountStatusRequest),
            "GetAccountBalances": (calls.get_account_balances, pb.GetAccountBalancesRequest),
            "Deposit": (calls.deposit, pb.TransferRequest),
            "Withdraw": (calls.withdraw, pb.TransferRequest),
            "CreateKey": (calls.create_key, pb.CreateKeyRequest),
            "ListKeys": (calls.list_keys, pb.ListKeysRequest),
            "RevokeKey": (calls.revoke_key, pb.RevokeKeyRequest),
            "SetInstrumentStatus": (calls.set_instrument_status, pb.SetInstrumentStatusRequest),
        }
        return {name: _unary(partial(self._admin, method), request) for name, (method, request) in methods.items()}

    async def _signed(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        asker = await self._callers.signed(context, method, cost=max(1, len(getattr(request, "orders", ()))))
        return await _answered(behaviour, request, asker, context)

    async def _admin(self, behaviour: Behaviour, request: Any, context: Context) -> Any:
        return await _answered(behaviour, request, await self._callers.admin(context), context)

    # Streams

    def _stream_methods(self) -> Handlers:
        streams: dict[str, tuple[Callable[..., Awaitable[None]], Any]] = {
            "StreamBook": (partial(self._public_stream, BOOK, pb.BookBatch), pb.StreamBookRequest),
            "StreamTrades": (partial(self._public_stream, TRADES, pb.TradeBatch), pb.StreamTradesRequest),
            "StreamOrders": (
                partial(self._private_stream, _full_name("StreamOrders"), ORDERS, pb.OrderBatch),
                pb.StreamOrdersRequest,
            ),
            "StreamBalances": (
                partial(self._private_stream, _full_name("StreamBalances"), BALANCES, pb.BalanceBatch),
                pb.StreamBalancesRequest,
            ),
        }
        handlers: Handlers = {
            name: grpc.unary_stream_rpc_method_handler(behaviour, request_deserializer=request.FromString)
            for name, (behaviour, request) in streams.items()
        }
        handlers["OrderStream"] = grpc.stream_stream_rpc_method_handler(
            self._order_stream, request_deserializer=pb.OrderStreamRequest.FromString
        )
        return handlers

    async def _public_stream(
        self, channel: str, batch_type: Callable[[], Batch], request: Any, context: Context
    ) -> None:
        wanted = [Wanted.of(subscription) for subscription in request.subscriptions]
        self._check_room()
        await self._streams.serve(context, self._resolver(channel, None), wanted, batch_type)

    async def _private_stream(
        self, method: str, channel: str, batch_type: Callable[[], Batch], request: Any, context: Context
    ) -> None:
        asker = await self._callers.signed(context, method)
        self._check_room()
        unwatch = await self._service.watch(asker.account)
        try:
            await self._streams.serve(
                context,
                self._resolver(channel, asker.caller),
                [Wanted.of(request)],
                batch_type,
                refuse=partial(self._callers.refuse_revoked, asker),
            )
        finally:
            unwatch()

    def _resolver(self, channel: str, caller: Caller | None) -> Resolve:
        return lambda symbol: self._service.resolve_topics(channel, symbol, caller)

    async def _order_stream(self, requests: Any, context: Context) -> None:  # noqa: ARG002 - the context reads too
        asker = await self._callers.signed(context, _full_name("OrderStream"))
        self._check_room()
        unwatch = await self._service.watch(asker.account)
        session = OrderSession(
            self._service,
            self._rendering,
            self._callers,
            context,
            asker,
            queue_messages=self._limits.queue_messages,
            cancel_retry_s=self._cancel_retry_s,
            is_stopping=lambda: self._is_stopping,
        )
        self._sessions[session] = None
        self._heartbeat.join(session)
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._heartbeat.leave(session)
            unwatch()
            if session.slow:
                self._metrics.slow_consumers.inc(1, TRANSPORT)

    def _check_room(self) -> None:
        if len(self._streams) + len(self._sessions) >= self._max_streams:
            raise RateLimited(f"{self._max_streams} streams are open, which is the limit", code="too_many_streams")


def _full_name(method: str) -> str:
    return f"/{SERVICE_NAME}/{method}"


def _unary(behaviour: Callable[..., Awaitable[Any]], request: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(
        behaviour, request_deserializer=request.FromString, response_serializer=_serialise
    )


async def _public(behaviour: Callable[[Any], Awaitable[Message]], request: Any, context: Context) -> Message:  # noqa: ARG001
    return await behaviour(request)


async def _answered(behaviour: Behaviour, request: Any, asker: Asker, context: Context) -> Any:
    """Answer a call; a refusal by the venue names the order that was stored with it, so that it can be looked at."""
    try:
        return await behaviour(request, asker)
    except Rejected as exc:
        if not isinstance(exc.order, OrderRecord):
            raise
        ids = current_request()
        await context.abort(
            edge_status(exc).grpc,
            exc.message,
            (
                *trailing_metadata(exc),
                ("fx-order-id", str(exc.order.order_id)),
                *(() if ids is None else ((REQUEST_ID_HEADER, ids.request_id),)),
            ),
        )


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
