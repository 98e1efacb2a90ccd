"""Order entry over one WebSocket connection: many orders on their way at once, each answered when it is durable.

A session ends with its connection; it is never taken up again by itself, because with `cancel_on_disconnect` the venue
has canceled its orders. What was on its way then is asked for over REST by its client order id.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from fauxchange.client.errors import ConnectionLost, UnknownOutcome, error_of_reply
from fauxchange.client.requests import CLIENT_REF, Amount, Settling, exact, identified, settling_of
from fauxchange.client.streams import Line, connected
from fauxchange.contracts.exchange.messages import BatchResult, OrderMessage, OrderRequest

T = TypeVar("T")

Reply = dict[str, Any]


class OrderSession:
    """An open session. Units: timeout_s in seconds, of one operation."""

    def __init__(
        self,
        socket: ClientConnection,
        *,
        settle: Callable[[Settling[OrderMessage]], Awaitable[OrderMessage | None]],
        timeout_s: float,
    ) -> None:
        self._socket = socket
        self._settle = settle
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._ended: str | None = None
        self._reader = asyncio.create_task(self._read(), name="order-session")

    async def place(self, order: OrderRequest) -> OrderMessage:
        """Place an order; one without a client order id is given one.

        Raises: OrderRejected with the order as the exchange keeps it; UnknownOutcome if not even REST can tell
        """
        named = identified(order)
        try:
            reply = await self._ask("place", {"order": msgspec.to_builtins(named)})
        except UnknownOutcome:
            found = await self._settle(settling_of(named))
            if found is None:
                raise
            return found
        return _order(reply)

    async def place_many(self, orders: Sequence[OrderRequest]) -> list[BatchResult]:
        """Place several orders in one frame, each accepted or refused by itself."""
        named = [msgspec.to_builtins(identified(order)) for order in orders]
        reply = await self._ask("place_batch", {"orders": named})
        return msgspec.convert(reply["results"], list[BatchResult])

    async def cancel(self, ref: str) -> OrderMessage:
        """Cancel an order by its id, or by `client:` and its client order id."""
        return _order(await self._ask("cancel", _named(ref)))

    async def amend(self, ref: str, *, price: Amount | None = None, quantity: Amount | None = None) -> OrderMessage:
        """Change an order's price, its total quantity (filled part included), or both."""
        change = {"price": price, "quantity": quantity}
        given = {name: exact(value) for name, value in change.items() if value is not None}
        return _order(await self._ask("amend", {**_named(ref), **given}))

    async def cancel_all(self, symbol: str | None = None) -> list[OrderMessage]:
        """Cancel all open orders of the account, or those of one symbol."""
        reply = await self._ask("cancel_all", {} if symbol is None else {"symbol": symbol})
        return msgspec.convert(reply.get("orders", []), list[OrderMessage])

    async def ended(self) -> str:
        """Wait until the connection ends; return why it did."""
        await asyncio.shield(self._reader)
        return self._ended or ""

    async def close(self) -> None:
        """Read no more answers."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                document = msgspec.json.decode(text)
                for item in document if isinstance(document, list) else [document]:
                    waiting = self._waiting.get(item.get("id")) if "op" in item else None
                    if waiting is not None and not waiting.done():
                        waiting.set_result(item)
            reason = f"the venue closed the session ({self._socket.close_reason or self._socket.close_code})"
        except WebSocketException as exc:
            reason = f"the session's connection was lost ({exc})"
        self._ended = reason
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(UnknownOutcome(f"{reason}; what was on its way may have been carried out"))

    async def _ask(self, op: str, members: dict[str, Any]) -> Reply:
        if self._ended is not None:
            raise ConnectionLost(f"{self._ended}; open another one", code="session_ended")
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(msgspec.json.encode({"op": op, "id": number, **members}).decode())
            async with asyncio.timeout(self._timeout_s):
                reply: Reply = await waiting
        except (TimeoutError, WebSocketException) as exc:
            raise UnknownOutcome(f"the session did not answer to {op}: {str(exc) or 'in time'}") from exc
        finally:
            del self._waiting[number]
        if not reply["ok"]:
            raise error_of_reply(reply)
        return reply


@asynccontextmanager
async def open_session(
    line: Line,
    *,
    settle: Callable[[Settling[OrderMessage]], Awaitable[OrderMessage | None]],
    timeout_s: float,
    cancel_on_disconnect: bool,
) -> AsyncIterator[OrderSession]:
    """Yield a session. Raises: NotConnected, Unauthorized."""
    async with connected(line, cancel_on_disconnect=cancel_on_disconnect) as socket:
        session = OrderSession(socket, settle=settle, timeout_s=timeout_s)
        try:
            yield session
        finally:
            await session.close()


def _order(reply: Reply) -> OrderMessage:
    return msgspec.convert(reply["order"], OrderMessage)


def _named(ref: str) -> dict[str, str]:
    if ref.startswith(CLIENT_REF):
        return {"client_order_id": ref.removeprefix(CLIENT_REF)}
    return {"order_id": ref}
