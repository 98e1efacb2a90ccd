"""The parameters of paths, queries and headers, with the words that the document has for them."""

from typing import Annotated, Literal

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from fauxchange.data.ports import MAX_PAGE
from fauxchange.domain.instruments import MAX_INT64
from fauxchange.domain.orders import ACCOUNT_STATUSES, LEDGER_CAUSES, OPEN_STATUSES, ORDER_STATUSES
from fauxchange.domain.times import parse_time
from fauxchange.services.exchange.service.exchange import MAX_DEPTH

SYMBOL_PATTERN = r"^[A-Za-z0-9]{1,16}[-/][A-Za-z0-9]{1,16}$"
NUMBER_PATTERN = r"^[1-9][0-9]{0,17}$"
PAGE = 100
DEPTH = 20

SymbolPath = Annotated[str, PathParameter(description="A symbol, such as `BTC-USD`.", pattern=SYMBOL_PATTERN)]
OrderPath = Annotated[
    str,
    PathParameter(
        description="An order id, or `client:` and a client order id.",
        pattern=r"^([1-9][0-9]{0,17}|client:[A-Za-z0-9._-]{1,36})$",
    ),
]
AccountPath = Annotated[str, PathParameter(description="The id of an account.", pattern=r"^(0|[1-9][0-9]{0,17})$")]
KeyPath = Annotated[str, PathParameter(description="An API key.", pattern=r"^[A-Za-z0-9_-]{1,64}$")]

SymbolQuery = Annotated[
    str | None, QueryParameter(name="symbol", description="Only those of this symbol.", pattern=SYMBOL_PATTERN)
]
StartQuery = Annotated[
    str | None,
    QueryParameter(
        name="start",
        description="The first time wanted, RFC 3339 (`2026-01-31T12:00:00Z`).",
        schema_extra={"format": "date-time"},
    ),
]
EndQuery = Annotated[
    str | None,
    QueryParameter(name="end", description="The time to stop before, RFC 3339.", schema_extra={"format": "date-time"}),
]
LimitQuery = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PAGE, description="The size of the page.")]
CursorQuery = Annotated[
    str | None,
    QueryParameter(name="cursor", description="`next_cursor` of the page before; the other parameters stay the same."),
]
DirectionQuery = Annotated[
    Literal["asc", "desc"] | None,
    QueryParameter(name="order", description="Oldest first or newest first; newest first unless `start` is given."),
]
DepthQuery = Annotated[
    int, QueryParameter(name="depth", ge=1, le=MAX_DEPTH, description="How many prices of each side.")
]
OrderStatusQuery = Annotated[
    Literal["open", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"] | None,
    QueryParameter(name="status", description="Only orders with this status; `open` is either of the first two."),
]
ClientOrderIdQuery = Annotated[
    str | None,
    QueryParameter(
        name="client_order_id", description="Only orders with this client order id.", pattern=r"^[A-Za-z0-9._-]{1,36}$"
    ),
]
OrderIdQuery = Annotated[
    str | None, QueryParameter(name="order_id", description="Only those of this order.", pattern=NUMBER_PATTERN)
]
AssetQuery = Annotated[
    str | None, QueryParameter(name="asset", description="Only entries in this asset.", pattern=r"^[A-Z0-9]{1,16}$")
]
CauseQuery = Annotated[
    Literal["deposit", "withdrawal", "reserve", "release", "trade", "fee"] | None,
    QueryParameter(name="cause", description="Only entries with this cause."),
]
AccountStatusQuery = Annotated[
    Literal["active", "suspended", "closed"] | None,
    QueryParameter(name="status", description="Only accounts with this status."),
]
IdempotencyHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="A key of the caller's choice: the same request with the same key is carried out once in 24 hours.",
        schema_extra={"pattern": r"^[!-~]([ -~]{0,253}[!-~])?$"},
    ),
]


def time_ns(text: str | None, field: str) -> int | None:
    """Return a time in nanoseconds since 1970, None for none; one that no record can have is the farthest that can.

    Raises: InvalidRequest
    """
    return None if text is None else max(-MAX_INT64, min(MAX_INT64, parse_time(text, field=field)))


def oldest_first(direction: str | None, start: str | None) -> bool:
    """Say whether a list begins with the oldest: if asked for, or if it has a start."""
    return start is not None if direction is None else direction == "asc"


def order_statuses(status: str | None) -> tuple[int, ...] | None:
    """Return the statuses that a filter lets through, None for all."""
    if status is None:
        return None
    return OPEN_STATUSES if status == "open" else (ORDER_STATUSES.index(status),)


def account_status(status: str | None) -> int | None:
    """Return the number of an account's status, None for none."""
    return None if status is None else ACCOUNT_STATUSES.index(status)


def causes(cause: str | None) -> tuple[int, ...] | None:
    """Return the causes that a filter lets through, None for all."""
    return None if cause is None else (LEDGER_CAUSES.index(cause),)


def number(text: str | None) -> int | None:
    """Return the number of an id that the document's pattern has let through, None for none."""
    return None if text is None else int(text)
