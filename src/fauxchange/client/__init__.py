"""The Python client: typed calls, signed requests, streams that take themselves up again, a checked book.

`Client` is synchronous, `AsyncClient` asynchronous; both have the same calls:

    with Client.from_ready(data_dir) as client:
        order = client.place_order(order_request("buy", "BTC-USD", "0.01"))

How it is made: `requests` says what can be asked, `conversation` what is said until it is answered, `subscription` and
`views` what is made of a stream; none of these does I/O. `aio`, `blocking`, `streams` and `session` move bytes.
"""

from fauxchange.client.aio import AsyncAdmin, AsyncClient
from fauxchange.client.blocking import Admin, BlockingStream, Client
from fauxchange.client.book import Book, Level
from fauxchange.client.conversation import Patience
from fauxchange.client.desk import World
from fauxchange.client.errors import (
    ApiError,
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    NotConnected,
    NotFound,
    OrderRejected,
    OutOfStep,
    RateLimited,
    Rejected,
    ServerError,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
)
from fauxchange.client.requests import order_request
from fauxchange.client.session import OrderSession
from fauxchange.client.streams import Stream
from fauxchange.client.venues import Venue, venue_at, venue_in
from fauxchange.client.views import BalancesUpdate, OrdersUpdate
from fauxchange.contracts.exchange.messages import OrderRequest

__all__ = [
    "Admin",
    "ApiError",
    "AsyncAdmin",
    "AsyncClient",
    "BalancesUpdate",
    "BlockingStream",
    "Book",
    "Client",
    "Conflict",
    "ConnectionLost",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidRequest",
    "Level",
    "NotConnected",
    "NotFound",
    "OrderRejected",
    "OrderRequest",
    "OrderSession",
    "OrdersUpdate",
    "OutOfStep",
    "Patience",
    "RateLimited",
    "Rejected",
    "ServerError",
    "Stream",
    "Unauthorized",
    "Unavailable",
    "UnknownOutcome",
    "Venue",
    "World",
    "order_request",
    "venue_at",
    "venue_in",
]
