"""The words of the kernel: kinds, statuses and reasons, with numbers that never change.

Journals and snapshots hold these numbers, so a member may be added but never renumbered.
"""

from enum import IntEnum
from typing import Final

NO_ASSET = NO_INSTRUMENT = -1
"""In a command: no particular one, all of them. In an event: none."""
ALL_INSTRUMENTS = -1

FEE_ACCOUNT = 0
"""The venue's own account that fees go to."""
HOUSE_ACCOUNT = 1
"""The venue's own account that quotes liquidity."""
TRANSIT_ACCOUNT = 2
"""Deposits come from here and withdrawals go here; it alone may be negative, so that every asset sums to zero."""

MAX_TIERS = 16
MAX_PRICE_TICKS = 2**48 - 1
MAX_LOTS = 2**62 - 1
MAX_FEE_RATE = 100_000
FEE_RATE_UNIT = 1_000_000
"""A fee rate of one is this many; fees are at most a tenth of the notional."""
BAND_UNIT = 10_000
"""A price band of the whole reference price is this many, and no band is wider."""


class CommandKind(IntEnum):
    """What a command asks for."""

    CREATE_ASSET = 1
    CREATE_ACCOUNT = 2
    SET_ACCOUNT_STATUS = 3
    SET_TIER_FEES = 4
    CREATE_INSTRUMENT = 5
    SET_INSTRUMENT_STATUS = 6
    SET_REFERENCE_PRICE = 7
    SET_LIMITS = 8
    DEPOSIT = 9
    WITHDRAW = 10
    PLACE = 11
    CANCEL = 12
    CANCEL_ALL = 13
    AMEND = 14
    REPLACE_IN_PLACE = 15
    CANCEL_REPLACE = 16
    EXPIRE = 17
    NOTE = 18


class EventKind(IntEnum):
    """What happened."""

    ASSET_CREATED = 1
    ACCOUNT_CREATED = 2
    ACCOUNT_CHANGED = 3
    FEES_CHANGED = 4
    INSTRUMENT_CREATED = 5
    INSTRUMENT_CHANGED = 6
    COMMAND_REJECTED = 7
    ORDER_ACCEPTED = 8
    ORDER_REJECTED = 9
    ORDER_TRIGGERED = 10
    ORDER_AMENDED = 11
    ORDER_REPLACED = 12
    ORDER_CANCELED = 13
    ORDER_EXPIRED = 14
    TRADE = 15
    BALANCE = 16
    BOOK = 17


class AccountStatus(IntEnum):
    """What an account may do."""

    ACTIVE = 0
    SUSPENDED = 1
    CLOSED = 2


class InstrumentStatus(IntEnum):
    """What an instrument allows."""

    OPEN = 0
    HALTED = 1
    CANCEL_ONLY = 2


class Side(IntEnum):
    """The side of an order, and of the book that it rests on."""

    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    """How an order finds its price."""

    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3
    TAKE_PROFIT = 4
    TAKE_PROFIT_LIMIT = 5


class TimeInForce(IntEnum):
    """How long an order lives."""

    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class SelfTradePrevention(IntEnum):
    """What a taker does when it meets an order of its own account."""

    NONE = 0
    EXPIRE_TAKER = 1
    EXPIRE_MAKER = 2
    EXPIRE_BOTH = 3


class OrderStatus(IntEnum):
    """Where an order stands."""

    NEW = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    CANCELED = 3
    REJECTED = 4
    EXPIRED = 5


class Cause(IntEnum):
    """Why a balance changed."""

    DEPOSIT = 1
    WITHDRAWAL = 2
    RESERVE = 3
    RELEASE = 4
    TRADE = 5
    FEE = 6


class RejectReason(IntEnum):
    """Why something was refused or ended; checks run in the order of the numbers and the first that fails wins."""

    NONE = 0

    UNKNOWN_ACCOUNT = 101
    UNKNOWN_INSTRUMENT = 102
    UNKNOWN_ASSET = 103
    UNKNOWN_ORDER = 104
    ORDER_FINISHED = 105
    BAD_SIDE = 106
    BAD_TYPE = 107
    BAD_TIME_IN_FORCE = 108
    BAD_QUANTITY = 109
    BAD_PRICE = 110
    BAD_STOP_PRICE = 111
    BAD_DISPLAY = 112
    BAD_EXPIRY = 113
    BAD_COMBINATION = 114
    BAD_AMOUNT = 115
    DUPLICATE = 116

    ACCOUNT_SUSPENDED = 201
    ACCOUNT_CLOSED = 202
    INSTRUMENT_HALTED = 203
    INSTRUMENT_CANCEL_ONLY = 204
    LOTS_BELOW_MIN = 205
    LOTS_ABOVE_MAX = 206
    PRICE_OUTSIDE_BAND = 207
    NOTIONAL_BELOW_MIN = 208
    NOTIONAL_ABOVE_MAX = 209
    TOO_MANY_OPEN_ORDERS = 210
    ACCOUNT_NOT_EMPTY = 211
    PRE_TRADE_REFUSED = 212

    POST_ONLY_WOULD_TRADE = 301
    FOK_UNFILLED = 302
    IOC_REST = 303
    NO_LIQUIDITY = 304
    SELF_TRADE = 305
    AMOUNT_TOO_SMALL = 306
    AMEND_BELOW_FILLED = 307
    EXPIRED = 308
    CANCELED_BY_USER = 309
    CANCELED_ALL = 310
    REPLACED = 311

    INSUFFICIENT_FUNDS = 401
    OVERFLOW = 402


# The same numbers as plain integers, by which the kernel knows them: the compiler builds them into its code.

COMMAND_CREATE_ASSET: Final = CommandKind.CREATE_ASSET.value
COMMAND_CREATE_ACCOUNT: Final = CommandKind.CREATE_ACCOUNT.value
COMMAND_SET_ACCOUNT_STATUS: Final = CommandKind.SET_ACCOUNT_STATUS.value
COMMAND_SET_TIER_FEES: Final = CommandKind.SET_TIER_FEES.value
COMMAND_CREATE_INSTRUMENT: Final = CommandKind.CREATE_INSTRUMENT.value
COMMAND_SET_INSTRUMENT_STATUS: Final = CommandKind.SET_INSTRUMENT_STATUS.value
COMMAND_SET_REFERENCE_PRICE: Final = CommandKind.SET_REFERENCE_PRICE.value
COMMAND_SET_LIMITS: Final = CommandKind.SET_LIMITS.value
COMMAND_DEPOSIT: Final = CommandKind.DEPOSIT.value
COMMAND_WITHDRAW: Final = CommandKind.WITHDRAW.value
COMMAND_PLACE: Final = CommandKind.PLACE.value
COMMAND_CANCEL: Final = CommandKind.CANCEL.value
COMMAND_CANCEL_ALL: Final = CommandKind.CANCEL_ALL.value
COMMAND_AMEND: Final = CommandKind.AMEND.value
COMMAND_REPLACE_IN_PLACE: Final = CommandKind.REPLACE_IN_PLACE.value
COMMAND_CANCEL_REPLACE: Final = CommandKind.CANCEL_REPLACE.value
COMMAND_EXPIRE: Final = CommandKind.EXPIRE.value
COMMAND_NOTE: Final = CommandKind.NOTE.value

EVENT_ASSET_CREATED: Final = EventKind.ASSET_CREATED.value
EVENT_ACCOUNT_CREATED: Final = EventKind.ACCOUNT_CREATED.value
EVENT_ACCOUNT_CHANGED: Final = EventKind.ACCOUNT_CHANGED.value
EVENT_FEES_CHANGED: Final = EventKind.FEES_CHANGED.value
EVENT_INSTRUMENT_CREATED: Final = EventKind.INSTRUMENT_CREATED.value
EVENT_INSTRUMENT_CHANGED: Final = EventKind.INSTRUMENT_CHANGED.value
EVENT_COMMAND_REJECTED: Final = EventKind.COMMAND_REJECTED.value
EVENT_ORDER_ACCEPTED: Final = EventKind.ORDER_ACCEPTED.value
EVENT_ORDER_REJECTED: Final = EventKind.ORDER_REJECTED.value
EVENT_ORDER_TRIGGERED: Final = EventKind.ORDER_TRIGGERED.value
EVENT_ORDER_AMENDED: Final = EventKind.ORDER_AMENDED.value
EVENT_ORDER_REPLACED: Final = EventKind.ORDER_REPLACED.value
EVENT_ORDER_CANCELED: Final = EventKind.ORDER_CANCELED.value
EVENT_ORDER_EXPIRED: Final = EventKind.ORDER_EXPIRED.value
EVENT_TRADE: Final = EventKind.TRADE.value
EVENT_BALANCE: Final = EventKind.BALANCE.value
EVENT_BOOK: Final = EventKind.BOOK.value

ACCOUNT_ACTIVE: Final = AccountStatus.ACTIVE.value
ACCOUNT_SUSPENDED: Final = AccountStatus.SUSPENDED.value
ACCOUNT_CLOSED: Final = AccountStatus.CLOSED.value

INSTRUMENT_OPEN: Final = InstrumentStatus.OPEN.value
INSTRUMENT_HALTED: Final = InstrumentStatus.HALTED.value
INSTRUMENT_CANCEL_ONLY: Final = InstrumentStatus.CANCEL_ONLY.value

SIDE_BUY: Final = Side.BUY.value
SIDE_SELL: Final = Side.SELL.value

TYPE_MARKET: Final = OrderType.MARKET.value
TYPE_LIMIT: Final = OrderType.LIMIT.value
TYPE_STOP: Final = OrderType.STOP.value
TYPE_STOP_LIMIT: Final = OrderType.STOP_LIMIT.value
TYPE_TAKE_PROFIT: Final = OrderType.TAKE_PROFIT.value
TYPE_TAKE_PROFIT_LIMIT: Final = OrderType.TAKE_PROFIT_LIMIT.value

TIME_GTC: Final = TimeInForce.GTC.value
TIME_IOC: Final = TimeInForce.IOC.value
TIME_FOK: Final = TimeInForce.FOK.value
TIME_GTD: Final = TimeInForce.GTD.value

STP_NONE: Final = SelfTradePrevention.NONE.value
STP_EXPIRE_TAKER: Final = SelfTradePrevention.EXPIRE_TAKER.value
STP_EXPIRE_MAKER: Final = SelfTradePrevention.EXPIRE_MAKER.value
STP_EXPIRE_BOTH: Final = SelfTradePrevention.EXPIRE_BOTH.value

ORDER_NEW: Final = OrderStatus.NEW.value
ORDER_PARTIALLY_FILLED: Final = OrderStatus.PARTIALLY_FILLED.value
ORDER_FILLED: Final = OrderStatus.FILLED.value
ORDER_CANCELED: Final = OrderStatus.CANCELED.value
ORDER_REJECTED: Final = OrderStatus.REJECTED.value
ORDER_EXPIRED: Final = OrderStatus.EXPIRED.value

CAUSE_DEPOSIT: Final = Cause.DEPOSIT.value
CAUSE_WITHDRAWAL: Final = Cause.WITHDRAWAL.value
CAUSE_RESERVE: Final = Cause.RESERVE.value
CAUSE_RELEASE: Final = Cause.RELEASE.value
CAUSE_TRADE: Final = Cause.TRADE.value
CAUSE_FEE: Final = Cause.FEE.value

REASON_NONE: Final = RejectReason.NONE.value
REASON_UNKNOWN_ACCOUNT: Final = RejectReason.UNKNOWN_ACCOUNT.value
REASON_UNKNOWN_INSTRUMENT: Final = RejectReason.UNKNOWN_INSTRUMENT.value
REASON_UNKNOWN_ASSET: Final = RejectReason.UNKNOWN_ASSET.value
REASON_UNKNOWN_ORDER: Final = RejectReason.UNKNOWN_ORDER.value
REASON_ORDER_FINISHED: Final = RejectReason.ORDER_FINISHED.value
REASON_BAD_SIDE: Final = RejectReason.BAD_SIDE.value
REASON_BAD_TYPE: Final = RejectReason.BAD_TYPE.value
REASON_BAD_TIME_IN_FORCE: Final = RejectReason.BAD_TIME_IN_FORCE.value
REASON_BAD_QUANTITY: Final = RejectReason.BAD_QUANTITY.value
REASON_BAD_PRICE: Final = RejectReason.BAD_PRICE.value
REASON_BAD_STOP_PRICE: Final = RejectReason.BAD_STOP_PRICE.value
REASON_BAD_DISPLAY: Final = RejectReason.BAD_DISPLAY.value
REASON_BAD_EXPIRY: Final = RejectReason.BAD_EXPIRY.value
REASON_BAD_COMBINATION: Final = RejectReason.BAD_COMBINATION.value
REASON_BAD_AMOUNT: Final = RejectReason.BAD_AMOUNT.value
REASON_DUPLICATE: Final = RejectReason.DUPLICATE.value
REASON_ACCOUNT_SUSPENDED: Final = RejectReason.ACCOUNT_SUSPENDED.value
REASON_ACCOUNT_CLOSED: Final = RejectReason.ACCOUNT_CLOSED.value
REASON_INSTRUMENT_HALTED: Final = RejectReason.INSTRUMENT_HALTED.value
REASON_INSTRUMENT_CANCEL_ONLY: Final = RejectReason.INSTRUMENT_CANCEL_ONLY.value
REASON_LOTS_BELOW_MIN: Final = RejectReason.LOTS_BELOW_MIN.value
REASON_LOTS_ABOVE_MAX: Final = RejectReason.LOTS_ABOVE_MAX.value
REASON_PRICE_OUTSIDE_BAND: Final = RejectReason.PRICE_OUTSIDE_BAND.value
REASON_NOTIONAL_BELOW_MIN: Final = RejectReason.NOTIONAL_BELOW_MIN.value
REASON_NOTIONAL_ABOVE_MAX: Final = RejectReason.NOTIONAL_ABOVE_MAX.value
REASON_TOO_MANY_OPEN_ORDERS: Final = RejectReason.TOO_MANY_OPEN_ORDERS.value
REASON_ACCOUNT_NOT_EMPTY: Final = RejectReason.ACCOUNT_NOT_EMPTY.value
REASON_PRE_TRADE_REFUSED: Final = RejectReason.PRE_TRADE_REFUSED.value
REASON_POST_ONLY_WOULD_TRADE: Final = RejectReason.POST_ONLY_WOULD_TRADE.value
REASON_FOK_UNFILLED: Final = RejectReason.FOK_UNFILLED.value
REASON_IOC_REST: Final = RejectReason.IOC_REST.value
REASON_NO_LIQUIDITY: Final = RejectReason.NO_LIQUIDITY.value
REASON_SELF_TRADE: Final = RejectReason.SELF_TRADE.value
REASON_AMOUNT_TOO_SMALL: Final = RejectReason.AMOUNT_TOO_SMALL.value
REASON_AMEND_BELOW_FILLED: Final = RejectReason.AMEND_BELOW_FILLED.value
REASON_EXPIRED: Final = RejectReason.EXPIRED.value
REASON_CANCELED_BY_USER: Final = RejectReason.CANCELED_BY_USER.value
REASON_CANCELED_ALL: Final = RejectReason.CANCELED_ALL.value
REASON_REPLACED: Final = RejectReason.REPLACED.value
REASON_INSUFFICIENT_FUNDS: Final = RejectReason.INSUFFICIENT_FUNDS.value
REASON_OVERFLOW: Final = RejectReason.OVERFLOW.value
