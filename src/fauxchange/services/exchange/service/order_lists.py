"""Plain orders on their way: limit orders that came side by side, in columns instead of an entry for each.

A plain order is a new limit order, good till cancelled, without a stop, a hidden part or an expiry. Whoever places one
is a *sink* with a token of its own for each order; what comes of many orders is told at once. Most of them come to rest
as they are and never become an object (`RestingOrders`); of the others each is told like any order.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SEQUENCE,
    C_SIDE,
    C_TIME_IN_FORCE,
    C_TS_NS,
    COMMAND_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.vocabulary import COMMAND_PLACE, TIME_GTC, TYPE_LIMIT
from fauxchange.services.exchange.service.requests import Origin, Outcome

MAX_ORDERS: Final = 128
"""A list takes no more."""
_GIVEN: Final = (C_ACCOUNT, C_INSTRUMENT, C_SIDE, C_POST_ONLY, C_SELF_TRADE_PREVENTION, C_PRICE_TICKS, C_ORDER_LOTS)
_CONTENT_AT: Final = 8 * C_KIND
_ROW_BYTES: Final = 8 * COMMAND_WIDTH
_MASK: Final = 2**63 - 1

_encode = msgspec.msgpack.Encoder().encode


class OrderSink(Protocol):
    """Whoever places plain orders. It is told of each of them once, by the one or the other, and raises nothing."""

    def rested(self, orders: RestingOrders, begun: int, tokens: Sequence[Any]) -> None:
        """Take note that orders are durable, accepted and rest: rows `begun` to `begun + len(tokens)` of these."""
        ...

    def told(self, token: Any, outcome: Outcome) -> None:
        """Take note of what else came of an order."""
        ...


Plain = tuple[int, int, int, int, int, int, int]
"""What a plain order asks for, as `_GIVEN` has it: the account, the instrument, and so on. Units: ticks and lots."""


class OrderList:
    """Plain orders that are one part of a batch; `done` is called once, when all is known of them or `failure` is.

    The orders come with `add` until the list is sealed. Then they have sequences, rows and packed notes; once carried
    out, `runs` are those that rest, each with the index of its first order, and `entries` the others by their index.
    """

    __slots__ = (
        "_accounts",
        "_asked",
        "done",
        "entries",
        "failure",
        "fingerprints",
        "is_open",
        "matrix",
        "names",
        "notes",
        "origins",
        "packed",
        "placed",
        "runs",
        "sequence",
        "sinks",
        "tokens",
        "ts_ns",
        "waiting",
    )

    def __init__(self, done: "Callable[[OrderList], None] | None") -> None:
        self.done = done
        self.is_open = True
        self._asked: list[int] = []
        self._accounts: Int64Array = _NO_NUMBERS
        self.names: list[str | None] = []
        self.origins: list[Origin] = []
        self.sinks: list[OrderSink] = []
        self.tokens: list[Any] = []
        self.waiting: dict[int, list[Callable[[Outcome], None]]] = {}
        """Who else waits for an order, by its index."""
        self.matrix: Int64Array = _NO_ROWS
        self.notes: list[bytes] = []
        self.packed = b""
        self.fingerprints: Int64Array = _NO_NUMBERS
        self.sequence = 0
        self.ts_ns = 0
        self.runs: list[tuple[int, RestingOrders]] = []
        self.placed: list[tuple[int, int, int]] = []
        """Of each run the index of its first order, that one's id, and how many there are."""
        self.entries: dict[int, Any] = {}
        self.failure: FauxchangeError | None = None

    def __len__(self) -> int:
        return len(self.names)

    def add(self, order: Plain, name: str | None, origin: Origin, sink: OrderSink, token: Any) -> None:
        """Take in one more order."""
        self._asked.extend(order)
        self.names.append(name)
        self.origins.append(origin)
        self.sinks.append(sink)
        self.tokens.append(token)
        if len(self.names) == MAX_ORDERS:
            self.is_open = False

    def seal(self, first_sequence: int, ts_ns: int) -> None:
        """Give the orders their sequences and their time, and pack their notes."""
        count = len(self.names)
        self.sequence, self.ts_ns = first_sequence, ts_ns
        matrix = self.close()
        matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + count)
        matrix[:, C_TS_NS] = ts_ns
        content = matrix.tobytes()
        fingerprints: list[int] = []
        packed_origins: dict[int, msgspec.Raw] = {}
        notes = self.notes
        at = _CONTENT_AT
        for name, origin in zip(self.names, self.origins, strict=True):
            raw = packed_origins.get(id(origin))
            if raw is None:
                raw = packed_origins[id(origin)] = msgspec.Raw(_encode(origin))
            fingerprint = 0 if name is None else hash_of(content[at : at + _ROW_BYTES - _CONTENT_AT])
            fingerprints.append(fingerprint)
            # The fields of a `Note`.
            notes.append(_encode((raw, name, None, None, fingerprint, None)))
            at += _ROW_BYTES
        self.fingerprints = np.array(fingerprints, dtype=np.int64)
        self.packed = b"".join(notes)

    def close(self) -> Int64Array:
        """Take in no more orders; return the rows of those that there are."""
        self.is_open = False
        self.matrix = self._rows()
        return self.matrix

    def _rows(self) -> Int64Array:
        asked = np.array(self._asked, dtype=np.int64).reshape(len(self.names), len(_GIVEN))
        matrix = np.zeros((len(asked), COMMAND_WIDTH), dtype=np.int64)
        matrix[:, _GIVEN] = asked
        matrix[:, C_KIND] = COMMAND_PLACE
        matrix[:, C_ORDER_TYPE] = TYPE_LIMIT
        matrix[:, C_TIME_IN_FORCE] = TIME_GTC
        return matrix

    def account(self, index: int) -> int:
        """Return whose order one is."""
        return self._asked[index * len(_GIVEN)] if self._asked else int(self._accounts[index])

    def fingerprint(self, index: int) -> int:
        """Return the hash of what an order asks for."""
        if len(self.fingerprints):
            return int(self.fingerprints[index])
        if self.names[index] is None:
            return 0
        matrix = self.matrix if len(self.matrix) else self._rows()
        return hash_of(matrix[index].tobytes()[_CONTENT_AT:])

    def add_run(self, begun: int, orders: RestingOrders) -> None:
        """Take note of orders that rest, from an index on."""
        self.runs.append((begun, orders))
        self.placed.append((begun, orders.first_order_id, len(orders)))

    def order_id(self, index: int) -> int | None:
        """Return the id of an order that came to rest, None of any other."""
        for begun, first_order_id, count in self.placed:
            if begun <= index < begun + count:
                return first_order_id + index - begun
        return None

    def index_of(self, account: int, name: str) -> int:
        """Return the index of an account's order by its client order id; it is one of the list."""
        index = -1
        while True:
            index = self.names.index(name, index + 1)
            if self.account(index) == account:
                return index

    def forget(self) -> None:
        """Let go of what nobody needs once everybody has been told: the list is kept for its client order ids."""
        self._accounts = self.matrix[:, C_ACCOUNT].copy()
        self.matrix, self.packed = _NO_ROWS, b""
        self._asked, self.notes, self.origins, self.sinks, self.tokens = [], [], [], [], []
        self.runs, self.entries, self.waiting = [], {}, {}


def hash_of(content: bytes) -> int:
    """Return a hash of what a command asks for, its words from `kind` on, the same in every process."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") & _MASK


_NO_ROWS: Final = np.zeros((0, COMMAND_WIDTH), dtype=np.int64)
_NO_NUMBERS: Final = np.zeros(0, dtype=np.int64)
