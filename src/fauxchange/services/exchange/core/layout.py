"""How commands, events and the state lie in memory: everything is a signed 64-bit integer.

Commands and events are rows of NumPy structured arrays for those outside; the kernel sees the same bytes as a matrix
and names its columns by the constants here. Rows of different kinds share columns under names of their own, so that a
field is called what it is (`tier` of a CREATE_ACCOUNT lies where `order_id` of a CANCEL does).

The state is one array, the *memory*: a header, which begins with the command under way, then tables of records, of
which the events of the last run are one; a kernel so has one array to hand on, not three. The address of a record is
the position of its first word, and a link from one record to another is an address; 0 is none. A table that is full is
moved to a larger memory between two steps of the kernel, which corrects all links (`memory.moved`).
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fauxchange.services.exchange.core import vocabulary

Int64Array = NDArray[np.int64]
Rows = NDArray[np.void]

MAX_INT64: Final = 2**63 - 1
ADDRESS: Final = 2**32 - 1
"""The largest address; a memory has no more words."""
LINE: Final = 8
"""Words in a line of the processor's cache. Tables begin at one, so that no record lies across more than it fills."""
MAX_TIERS: Final = vocabulary.MAX_TIERS


class Memory(Protocol):
    """What a kernel sees of an array of words."""

    def __getitem__(self, at: int, /) -> int: ...
    def __setitem__(self, at: int, value: int, /) -> None: ...
    def __len__(self) -> int: ...


# Columns of a command. --------------------------------------------------------------------------------------------

C_SEQUENCE: Final = 0
C_TS_NS: Final = 1
C_KIND: Final = 2
C_ACCOUNT: Final = 3
C_INSTRUMENT: Final = 4
C_ORDER_ID: Final = 5
C_SIDE: Final = 6
C_ORDER_TYPE: Final = 7
C_TIME_IN_FORCE: Final = 8
C_POST_ONLY: Final = 9
C_SELF_TRADE_PREVENTION: Final = 10
C_PRICE_TICKS: Final = 11
C_STOP_TICKS: Final = 12
C_ORDER_LOTS: Final = 13
C_DISPLAY_LOTS: Final = 14
C_AMOUNT: Final = 15
C_EXPIRES_NS: Final = 16
COMMAND_WIDTH: Final = 17

C_ASSET: Final = 4
C_REFUSED: Final = 5
C_DECIMALS: Final = 5
C_TIER: Final = 5
C_STATUS: Final = 6
C_MAKER_FEE_RATE: Final = 6
C_TAKER_FEE_RATE: Final = 7
C_BASE_ASSET: Final = 5
C_QUOTE_ASSET: Final = 6
C_TICK_VALUE: Final = 7
C_LOT_VALUE: Final = 8
C_UNFUNDED: Final = 9
C_MIN_LOTS: Final = 10
C_MAX_LOTS: Final = 11
C_MIN_NOTIONAL: Final = 12
C_MAX_NOTIONAL: Final = 13
C_PRICE_BAND: Final = 14
C_MAX_OPEN_ORDERS: Final = 15

COMMAND_COLUMNS: Final = {
    "sequence": C_SEQUENCE,
    "ts_ns": C_TS_NS,
    "kind": C_KIND,
    "account": C_ACCOUNT,
    "instrument": C_INSTRUMENT,
    "order_id": C_ORDER_ID,
    "side": C_SIDE,
    "order_type": C_ORDER_TYPE,
    "time_in_force": C_TIME_IN_FORCE,
    "post_only": C_POST_ONLY,
    "self_trade_prevention": C_SELF_TRADE_PREVENTION,
    "price_ticks": C_PRICE_TICKS,
    "stop_ticks": C_STOP_TICKS,
    "order_lots": C_ORDER_LOTS,
    "display_lots": C_DISPLAY_LOTS,
    "amount": C_AMOUNT,
    "expires_ns": C_EXPIRES_NS,
    "asset": C_ASSET,
    "refused": C_REFUSED,
    "decimals": C_DECIMALS,
    "tier": C_TIER,
    "status": C_STATUS,
    "maker_fee_rate": C_MAKER_FEE_RATE,
    "taker_fee_rate": C_TAKER_FEE_RATE,
    "base_asset": C_BASE_ASSET,
    "quote_asset": C_QUOTE_ASSET,
    "tick_value": C_TICK_VALUE,
    "lot_value": C_LOT_VALUE,
    "unfunded": C_UNFUNDED,
    "min_lots": C_MIN_LOTS,
    "max_lots": C_MAX_LOTS,
    "min_notional": C_MIN_NOTIONAL,
    "max_notional": C_MAX_NOTIONAL,
    "price_band": C_PRICE_BAND,
    "max_open_orders": C_MAX_OPEN_ORDERS,
}

# Columns of an event. ---------------------------------------------------------------------------------------------

E_EVENT_SEQUENCE: Final = 0
E_SEQUENCE: Final = 1
E_TS_NS: Final = 2
E_KIND: Final = 3
E_REASON: Final = 4
E_INSTRUMENT: Final = 5
E_ACCOUNT: Final = 6
E_ORDER_ID: Final = 7
E_SIDE: Final = 8
E_PRICE_TICKS: Final = 9
E_LOTS: Final = 10
E_CUM_LOTS: Final = 11
E_LEAVES_LOTS: Final = 12
E_ORDER_STATUS: Final = 13
E_TRADE_ID: Final = 14
E_MAKER_ORDER_ID: Final = 15
E_MAKER_ACCOUNT: Final = 16
E_MAKER_FEE: Final = 17
E_TAKER_FEE: Final = 18
E_MAKER_LEAVES_LOTS: Final = 19
EVENT_WIDTH: Final = 20

E_ASSET: Final = 14
E_DELTA_FREE: Final = 15
E_DELTA_HELD: Final = 16
E_CAUSE: Final = 17
E_REPLACED_ORDER_ID: Final = 14

EVENT_COLUMNS: Final = {
    "event_sequence": E_EVENT_SEQUENCE,
    "sequence": E_SEQUENCE,
    "ts_ns": E_TS_NS,
    "kind": E_KIND,
    "reason": E_REASON,
    "instrument": E_INSTRUMENT,
    # Of an order event: its order. Of a TRADE: the taker's.
    "account": E_ACCOUNT,
    "order_id": E_ORDER_ID,
    "side": E_SIDE,
    "price_ticks": E_PRICE_TICKS,
    "order_lots": E_LOTS,
    "cum_lots": E_CUM_LOTS,
    "leaves_lots": E_LEAVES_LOTS,
    "order_status": E_ORDER_STATUS,
    # Of a TRADE.
    "last_lots": E_LOTS,
    "trade_id": E_TRADE_ID,
    "maker_order_id": E_MAKER_ORDER_ID,
    "maker_account": E_MAKER_ACCOUNT,
    "maker_fee": E_MAKER_FEE,
    "taker_fee": E_TAKER_FEE,
    "maker_leaves_lots": E_MAKER_LEAVES_LOTS,
    # Of a BOOK: all that is shown at the price after the change.
    "level_lots": E_LOTS,
    # Of a BALANCE, and `asset` of an ASSET_CREATED.
    "asset": E_ASSET,
    "delta_free": E_DELTA_FREE,
    "delta_held": E_DELTA_HELD,
    "cause": E_CAUSE,
    # Of an ORDER_ACCEPTED that came with a CANCEL_REPLACE.
    "replaced_order_id": E_REPLACED_ORDER_ID,
}


def _row_type(columns: dict[str, int], width: int) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": list(columns),
            "formats": [np.int64] * len(columns),
            "offsets": [8 * column for column in columns.values()],
            "itemsize": 8 * width,
        }
    )


COMMAND: Final = _row_type(COMMAND_COLUMNS, COMMAND_WIDTH)
EVENT: Final = _row_type(EVENT_COLUMNS, EVENT_WIDTH)


def words(rows: Rows) -> Int64Array:
    """Return the rows of a structured array as a matrix over the same bytes."""
    columns = rows.dtype.itemsize // 8
    # By way of bytes, because NumPy views no row of shared columns as anything but bytes without a copy.
    flat: Int64Array = np.ascontiguousarray(rows).reshape(-1).view(np.dtype((np.void, 8 * columns))).view(np.int64)
    return flat.reshape(len(rows), columns)


# The header of the memory. ----------------------------------------------------------------------------------------

# It begins with the command that is under way, so that the columns of a command are addresses too.
H_VERSION: Final = 24
H_FLAGS: Final = 25
H_SEQUENCE: Final = 26
H_TS_NS: Final = 27
H_EVENT_SEQUENCE: Final = 28
H_LAST_ORDER_ID: Final = 29
H_LAST_TRADE_ID: Final = 30

H_ASSETS: Final = 31
H_ACCOUNTS: Final = 32
H_INSTRUMENTS: Final = 33
H_OPEN_ORDERS: Final = 34
H_WRITTEN: Final = 35

# What remains of the command when the kernel stops for lack of room.
H_STAGE: Final = 36
H_TAKER: Final = 37
H_CURSOR: Final = 38
H_LAST_INSTRUMENT: Final = 39
H_REASON: Final = 40
H_TRIGGER_INSTRUMENT: Final = 41

# Where the tables begin, how many records fit, and for pools: how many were ever used, and the first freed one.
H_ASSET_AT: Final = 42
H_ACCOUNT_AT: Final = 43
H_INSTRUMENT_AT: Final = 44
H_FEE_AT: Final = 45
H_BALANCE_AT: Final = 46
H_DESK_AT: Final = 47
H_INDEX_AT: Final = 48
H_EXPIRY_AT: Final = 49
H_TRIGGER_AT: Final = 50
H_ORDER_AT: Final = 51
H_LEVEL_AT: Final = 52
H_NODE_AT: Final = 53
H_EVENT_AT: Final = 54

H_ASSET_ROOM: Final = 55
H_ACCOUNT_ROOM: Final = 56
H_INSTRUMENT_ROOM: Final = 57
H_ORDER_ROOM: Final = 58
H_LEVEL_ROOM: Final = 59
H_NODE_ROOM: Final = 60
H_EVENT_ROOM: Final = 61
H_INDEX_BITS: Final = 62

H_ORDERS_USED: Final = 63
H_ORDER_FREE: Final = 64
H_LEVELS_USED: Final = 65
H_LEVEL_FREE: Final = 66
H_LEVELS_OPEN: Final = 67
H_NODES_USED: Final = 68
H_NODE_FREE: Final = 69
H_NODES_OPEN: Final = 70
H_EXPIRIES: Final = 71
H_TRIGGERS: Final = 72
H_PRIORITY: Final = 73
# What looking ahead has found: the levels that the next orders go to.
H_AHEAD: Final = 80
AHEAD: Final = 16
HEADER_WIDTH: Final = H_AHEAD + 2 * AHEAD

FLAG_BALANCE_EVENTS: Final = 1
FLAG_BOOK_EVENTS: Final = 2

# Records. ---------------------------------------------------------------------------------------------------------

ASSET_WIDTH: Final = 1  # decimals

A_STATUS: Final = 0
A_TIER: Final = 1
ACCOUNT_WIDTH: Final = 2

# A cell of the balances, one for each account and asset.
B_FREE: Final = 0
B_HELD: Final = 1
BALANCE_WIDTH: Final = 2

# A cell of the desks, one for each account and instrument: the account's open orders, oldest first.
D_HEAD: Final = 0
D_TAIL: Final = 1
D_COUNT: Final = 2
DESK_WIDTH: Final = LINE // 2

F_MAKER: Final = 0
F_TAKER: Final = 1
FEE_WIDTH: Final = 2

# A book: the levels of one side, or the stops that wait for the price to rise or fall.
K_LOWEST: Final = 0
K_HIGHEST: Final = 1
K_ROOT: Final = 2
K_HEIGHT: Final = 3
BOOK_WIDTH: Final = 4

BOOK_BIDS: Final = 0
BOOK_ASKS: Final = 1
BOOK_RISING: Final = 2
BOOK_FALLING: Final = 3
BOOKS: Final = 4

I_BASE: Final = 0
I_QUOTE: Final = 1
I_TICK_VALUE: Final = 2
I_LOT_VALUE: Final = 3
I_UNFUNDED: Final = 4
I_STATUS: Final = 5
I_REFERENCE: Final = 6
I_LAST: Final = 7
I_MIN_LOTS: Final = 8
I_MAX_LOTS: Final = 9
I_MIN_NOTIONAL: Final = 10
I_MAX_NOTIONAL: Final = 11
I_PRICE_BAND: Final = 12
I_MAX_OPEN_ORDERS: Final = 13
I_BOOKS: Final = 16
INSTRUMENT_WIDTH: Final = I_BOOKS + BOOKS * BOOK_WIDTH

# An order: four lines of the cache, in the order in which they are needed. First what trades, and the queue.
O_ID: Final = 0
O_ACCOUNT: Final = 1
O_PRICE: Final = 2
O_LEAVES: Final = 3
O_SHOWN: Final = 4
O_LEVEL: Final = 5
O_PREV: Final = 6
O_NEXT: Final = 7
# What settles.
O_INSTRUMENT: Final = 8
O_SIDE: Final = 9
O_BOOK: Final = 10
O_LOTS: Final = 11
O_RESERVED: Final = 12
O_RATE: Final = 13
O_QUOTE_LEFT: Final = 14
O_STP: Final = 15
# What else finds an order.
O_OPEN: Final = 16
O_DESK_PREV: Final = 17
O_DESK_NEXT: Final = 18
O_CHAIN: Final = 19
O_HEAP_AT: Final = 20
O_EXPIRES: Final = 21
O_DISPLAY: Final = 22
O_PRIORITY: Final = 23
# What is read when it enters.
O_TYPE: Final = 24
O_TIME_IN_FORCE: Final = 25
O_POST_ONLY: Final = 26
O_STOP: Final = 27
O_AMOUNT: Final = 28
ORDER_WIDTH: Final = 4 * LINE

L_PRICE: Final = 0
L_HEAD: Final = 1
L_TAIL: Final = 2
L_BELOW: Final = 3
L_ABOVE: Final = 4
L_SHOWN: Final = 5
L_HIDDEN: Final = 6
L_LEAF: Final = 7
LEVEL_WIDTH: Final = 8

# A node of the tree that finds a level by its price and the neighbours of a new one.
TREE_BITS: Final = 4
TREE_FAN: Final = 1 << TREE_BITS
TREE_MASK: Final = TREE_FAN - 1
TREE_MAX_HEIGHT: Final = 48 // TREE_BITS
N_BITMAP: Final = 0
N_PARENT: Final = 1
N_CHILDREN: Final = 2
NODE_WIDTH: Final = N_CHILDREN + TREE_FAN

# Columns that hold links, by the table that they point into; moving a table corrects them.
ORDER_LINKS_TO_ORDERS: Final = (O_PREV, O_NEXT, O_DESK_PREV, O_DESK_NEXT)
LEVEL_LINKS_TO_ORDERS: Final = (L_HEAD, L_TAIL)
LEVEL_LINKS_TO_LEVELS: Final = (L_BELOW, L_ABOVE)

# The stages of a command. ------------------------------------------------------------------------------------------

STAGE_IDLE: Final = 0
STAGE_MATCHING: Final = 1
STAGE_TRIGGERING: Final = 2
STAGE_CANCELING: Final = 3
STAGE_EXPIRING: Final = 4

# What the kernel stops for, between two steps. ----------------------------------------------------------------------

STOP_DONE: Final = 0
STOP_MEMORY: Final = 1
STOP_CORRUPT: Final = 2

EVENT_MARGIN: Final = 64
"""No step of the kernel writes more events than this."""

SPARE_ORDERS: Final = 4
SPARE_LEVELS: Final = 4
SPARE_NODES: Final = 4 * TREE_MAX_HEIGHT
"""No step of the kernel takes more records than these."""
