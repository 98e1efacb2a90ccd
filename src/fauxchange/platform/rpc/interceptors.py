"""The layers around a gRPC method, outermost first: trace and request ids, RED metrics, errors, deadlines, draining.

Each layer is a function that calls the next one with the running `Call`. They share one interceptor, which turns any
of the four kinds of method into one coroutine, so that a layer sees a stream from its first message to its end, in
one task, whoever ends it.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import structlog
from google.protobuf.message import DecodeError

from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.platform.errors import answerable, edge_status, trailing_metadata
from fauxchange.platform.metrics import RedMetrics
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.rpc.deadlines import answering_within
from fauxchange.platform.tracing import REQUEST_ID_HEADER, current_request, request_context, serving

UNKNOWN_METHOD = "unknown"

_log = structlog.get_logger(__name__)

Method = Callable[["Call"], Awaitable[Any]]
"""Carry the call out; return the response of a method that has a single one."""


class Layer(Protocol):
    """What happens around a call."""

    async def __call__(self, call: "Call", method: Method) -> Any:
        """Carry the call out by way of `method`."""
        ...


@dataclass(slots=True)
class Call:
    """One running call."""

    method: str
    """The full name, such as `/fauxchange.market_data.v1.MarketData/StreamPrices`."""
    kind: str
    """`unary`, `server_stream`, `client_stream` or `bidi_stream`."""
    request: Any
    """The message, or the iterator of messages where the client streams."""
    context: Any
    """The servicer's context of grpc.aio."""
    registered: bool = True

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        return self.kind in {"server_stream", "bidi_stream"}


class Layered(grpc.aio.ServerInterceptor):
    """Put layers, outermost first, around every method, those that do not exist included."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._handlers: dict[str, Any] = {}
        """By full name, once called; names that do not exist are never kept, there is no end of them."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler with the layers around it."""
        name = handler_call_details.method
        if name in self._handlers:
            return self._handlers[name]
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._around(name, "bidi_stream", _unimplemented, False))
        if handler.request_streaming and handler.response_streaming:
            make, kind, function = grpc.stream_stream_rpc_method_handler, "bidi_stream", handler.stream_stream
        elif handler.request_streaming:
            make, kind, function = grpc.stream_unary_rpc_method_handler, "client_stream", handler.stream_unary
        elif handler.response_streaming:
            make, kind, function = grpc.unary_stream_rpc_method_handler, "server_stream", handler.unary_stream
        else:
            make, kind, function = grpc.unary_unary_rpc_method_handler, "unary", handler.unary_unary
        self._handlers[name] = make(
            self._around(name, kind, function, True),
            request_deserializer=handler.request_deserializer
            if handler.request_streaming
            else _tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return self._handlers[name]

    def _around(self, name: str, kind: str, function: Any, registered: bool) -> Callable[[Any, Any], Awaitable[Any]]:
        method = _as_coroutine(function)
        for layer in reversed(self._layers):
            method = _bound(layer, method)

        async def handle(request: Any, context: Any) -> Any:
            return await method(Call(name, kind, request, context, registered))

        return handle


async def tracing(call: Call, method: Method) -> Any:
    """Take over or make the call's ids, keep them while it runs, answer with the request id."""
    metadata = {key: value for key, value in call.context.invocation_metadata() or () if isinstance(value, str)}
    context = request_context(metadata)
    call.context.set_trailing_metadata(((REQUEST_ID_HEADER, context.request_id),))
    with serving(context):
        return await method(call)


class Red:
    """Count each call and time it to its end, by method, kind and status code."""

    def __init__(self, metrics: MetricsPort) -> None:
        self._red = RedMetrics(metrics, "grpc", ("method", "type", "code"))

    async def __call__(self, call: Call, method: Method) -> Any:
        """Carry the call out and count it."""
        started_s = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            response = await method(call)
            code = _code(call, grpc.StatusCode.OK)
        except asyncio.CancelledError:
            code = _cancellation(call)
            raise
        except BaseException:
            code = _code(call, grpc.StatusCode.UNKNOWN)
            raise
        else:
            return response
        finally:
            name, kind = (call.method.removeprefix("/"), call.kind) if call.registered else (UNKNOWN_METHOD,) * 2
            # A caller who goes away is no error of anyone's.
            failed = code not in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
            self._red.record(time.perf_counter() - started_s, name, kind, code.name, failed=failed)


async def errors(call: Call, method: Method) -> Any:
    """Turn what goes wrong into a status with its code in the trailing metadata `fx-code`."""
    try:
        return await method(call)
    except grpc.aio.AbortError:
        raise
    except Exception as exc:
        failure = answerable(exc)
        context = current_request()
        ids = ((REQUEST_ID_HEADER, context.request_id),) if context is not None else ()
        await call.context.abort(edge_status(failure).grpc, failure.message, trailing_metadata(failure) + ids)


async def deadlines(call: Call, method: Method) -> Any:
    """Bound what is called in turn by how long the caller waits."""
    with answering_within(call.context.time_remaining()):
        return await method(call)


class Draining:
    """End the streams that would go on for ever when the server stops; the caller is told to come back.

    Services whose streams end by themselves then are named in `but`.
    """

    def __init__(self, *, but: Sequence[str] = ()) -> None:
        self._but = tuple(f"/{service}/" for service in but)
        self._streams: set[asyncio.Task[Any]] = set()
        self._drained = asyncio.Event()

    async def __call__(self, call: Call, method: Method) -> Any:
        """Carry the call out, until the server stops if its answer is a stream."""
        task = asyncio.current_task()
        if task is None or not call.streams or call.method.startswith(self._but):
            return await method(call)
        if self._drained.is_set():
            raise _stopping()
        self._streams.add(task)
        try:
            return await method(call)
        except asyncio.CancelledError:
            # Ours, not the caller's: the caller is still there and gets an answer.
            if not self._drained.is_set() or call.context.cancelled():
                raise
            task.uncancel()
            raise _stopping() from None
        finally:
            self._streams.discard(task)

    def drain(self) -> None:
        """End every stream that runs."""
        self._drained.set()
        for task in tuple(self._streams):
            task.cancel()


def server_interceptor(metrics: MetricsPort, draining: Draining) -> Layered:
    """Return the interceptor with all layers in their order."""
    return Layered((tracing, Red(metrics), errors, deadlines, draining))


def _bound(layer: Layer, method: Method) -> Method:
    async def run(call: Call) -> Any:
        return await layer(call, method)

    return run


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Stands for a request that is no message of its method."""


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Return `deserialize` so that no layer is passed by: what it raises ends a call before any of them sees it."""
    if deserialize is None:
        return None

    def read(message: bytes) -> Any:
        try:
            return deserialize(message)
        except (DecodeError, UnicodeDecodeError):
            return _Malformed()

    return read


def _as_coroutine(function: Any) -> Method:
    """Return `function` (any of the shapes that grpc.aio takes) as one coroutine that writes streams itself."""

    async def run(call: Call) -> Any:
        if isinstance(call.request, _Malformed):
            raise InvalidRequest("these bytes are no message that this method reads", code="malformed_body")
        answer = function(call.request, call.context)
        if inspect.isawaitable(answer):
            return await answer
        if not hasattr(answer, "__aiter__"):
            return answer
        async with contextlib.aclosing(answer) if hasattr(answer, "aclose") else contextlib.nullcontext():
            async for message in answer:
                await call.context.write(message)
        return None

    return run


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; please resume elsewhere or later", code="stopping", retry_after_s=1)


async def _unimplemented(_request: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method", (("fx-code", "not_found"),))


def _code(call: Call, default: grpc.StatusCode) -> grpc.StatusCode:
    """Return the status that the method or an abort has set."""
    code = call.context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code and code), default)


def _cancellation(call: Call) -> grpc.StatusCode:
    remaining_s = call.context.time_remaining()
    if remaining_s is not None and remaining_s <= 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED
