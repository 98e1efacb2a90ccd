"""Orders and postings in columns: what most orders lead to, for as long as nobody asks for one of them.

An order that is accepted and rests, and no more, is one row of numbers; so is what it reserves. A record is made of a
row when somebody wants one.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.orders import ORDER_STATUSES, LedgerEntry, OrderRecord

Numbers = NDArray[np.int64]

ORDER_COLUMNS: Final = (
    "order_id",
    "account",
    "instrument",
    "side",
    "order_type",
    "time_in_force",
    "post_only",
    "self_trade_prevention",
    "price_ticks",
    "order_lots",
    "ts_ns",
    "event_sequence",
    "fingerprint",
)
"""What is known of a resting order that nothing has happened to; everything else of its record is nothing."""
(
    O_ORDER_ID,
    O_ACCOUNT,
    O_INSTRUMENT,
    O_SIDE,
    O_ORDER_TYPE,
    O_TIME_IN_FORCE,
    O_POST_ONLY,
    O_SELF_TRADE_PREVENTION,
    O_PRICE_TICKS,
    O_ORDER_LOTS,
    O_TS_NS,
    O_EVENT_SEQUENCE,
    O_FINGERPRINT,
) = range(len(ORDER_COLUMNS))

LEDGER_COLUMNS: Final = (
    "event_sequence",
    "sequence",
    "ts_ns",
    "account",
    "asset",
    "delta_free",
    "delta_held",
    "cause",
    "order_id",
    "free",
    "held",
)
"""The fields of `LedgerEntry`, the asset by its number."""
(
    L_EVENT_SEQUENCE,
    L_SEQUENCE,
    L_TS_NS,
    L_ACCOUNT,
    L_ASSET,
    L_DELTA_FREE,
    L_DELTA_HELD,
    L_CAUSE,
    L_ORDER_ID,
    L_FREE,
    L_HELD,
) = range(len(LEDGER_COLUMNS))

_NEW: Final = ORDER_STATUSES.index("NEW")


class RestingOrder(msgspec.Struct, frozen=True, gc=False):
    """One order as it was placed: its row of numbers as bytes, its client order id, the symbols of all instruments.

    Thousands of these are kept for those who come back, and none keeps the orders that came with it.
    """

    row: bytes
    name: str | None
    symbols: Sequence[str]

    def record(self) -> OrderRecord:
        """Return the record."""
        return _record(np.frombuffer(self.row, dtype=np.int64).tolist(), self.name, self.symbols)


class RestingOrders:
    """Orders of consecutive ids as they were placed. Shapes: numbers (n, len(ORDER_COLUMNS)), names (n,).

    `symbols` are those of all instruments, by number.
    """

    __slots__ = ("first_order_id", "left", "names", "numbers", "symbols")

    def __init__(self, numbers: Numbers, names: Sequence[str | None], symbols: Sequence[str]) -> None:
        self.numbers = numbers
        self.names = names
        self.symbols = symbols
        self.first_order_id = int(numbers[0, O_ORDER_ID])
        self.left = len(numbers)
        """How many of them nobody has made a record of, as whoever keeps them counts."""

    def __len__(self) -> int:
        return len(self.numbers)

    def record(self, order_id: int) -> OrderRecord:
        """Return one of the orders as it was placed."""
        at = order_id - self.first_order_id
        return _record(self.numbers[at].tolist(), self.names[at], self.symbols)

    def single(self, order_id: int) -> RestingOrder:
        """Return one of the orders by itself."""
        at = order_id - self.first_order_id
        return RestingOrder(self.numbers[at].tobytes(), self.names[at], self.symbols)

    def records(self) -> Iterator[OrderRecord]:
        """Yield all of the orders as they were placed."""
        for row, name in zip(self.numbers.tolist(), self.names, strict=True):
            yield _record(row, name, self.symbols)


class LedgerRows:
    """Consecutive postings. Shapes: numbers (n, len(LEDGER_COLUMNS)); `assets` are the names of all, by number."""

    __slots__ = ("assets", "numbers")

    def __init__(self, numbers: Numbers, assets: Sequence[str]) -> None:
        self.numbers = numbers
        self.assets = assets

    def __len__(self) -> int:
        return len(self.numbers)

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield the postings."""
        for row in self.numbers.tolist():
            fields = dict(zip(LEDGER_COLUMNS, row, strict=True))
            fields["asset"] = self.assets[row[L_ASSET]]
            yield LedgerEntry(**fields)


def _record(row: Sequence[int], name: str | None, symbols: Sequence[str]) -> OrderRecord:
    return OrderRecord(
        order_id=row[O_ORDER_ID],
        account=row[O_ACCOUNT],
        symbol=symbols[row[O_INSTRUMENT]],
        client_order_id=name,
        side=row[O_SIDE],
        order_type=row[O_ORDER_TYPE],
        time_in_force=row[O_TIME_IN_FORCE],
        post_only=bool(row[O_POST_ONLY]),
        self_trade_prevention=row[O_SELF_TRADE_PREVENTION],
        price_ticks=row[O_PRICE_TICKS],
        stop_ticks=0,
        order_lots=row[O_ORDER_LOTS],
        display_lots=0,
        amount=0,
        expires_ns=0,
        status=_NEW,
        reason=0,
        cum_lots=0,
        leaves_lots=row[O_ORDER_LOTS],
        cum_quote=0,
        fee=0,
        triggered=False,
        replaces=0,
        created_ns=row[O_TS_NS],
        updated_ns=row[O_TS_NS],
        event_sequence=row[O_EVENT_SEQUENCE],
        fingerprint=row[O_FINGERPRINT],
    )
