"""Accounts, orders, fills and ledger entries as records: what the exchange tells, stores and finds again.

The numbers of sides, types, statuses and reasons are the kernel's (`services.exchange.core.vocabulary`), which journals
hold; here are the words that the outside knows them by. Prices are ticks, quantities lots of the symbol's instrument;
money is in minor units of its asset.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from fauxchange.domain.times import NS_PER_S

SIDES: Final = ("buy", "sell")
ORDER_TYPES: Final = ("market", "limit", "stop", "stop_limit", "take_profit", "take_profit_limit")
TIMES_IN_FORCE: Final = ("GTC", "IOC", "FOK", "GTD")
SELF_TRADE_PREVENTIONS: Final = ("none", "expire_taker", "expire_maker", "expire_both")
ORDER_STATUSES: Final = ("NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED")
OPEN_STATUSES: Final = (0, 1)
ACCOUNT_STATUSES: Final = ("active", "suspended", "closed")
INSTRUMENT_STATUSES: Final = ("open", "halted", "cancel_only")
LEDGER_CAUSES: Final = ("", "deposit", "withdrawal", "reserve", "release", "trade", "fee")
"""Position 0 is never used: causes count from 1."""

CLIENT_ORDER_ID_KEPT_NS: Final = 24 * 3600 * NS_PER_S
"""How long after an order has finished its client order id stays taken."""


class AccountRecord(msgspec.Struct, kw_only=True):
    """An account. Units: tier counts fee tiers from 0; times in nanoseconds of venue time."""

    account: int
    name: str
    tier: int
    status: int
    created_ns: int
    updated_ns: int


class KeyRecord(msgspec.Struct, kw_only=True):
    """An API key; its secret is stored encrypted. Units: times in nanoseconds of venue time, 0 is not revoked."""

    api_key: str
    account: int
    label: str
    encrypted_secret: str
    created_ns: int
    revoked_ns: int = 0


class OrderRecord(msgspec.Struct, kw_only=True, gc=False):
    """An order as it stands. Units: ticks, lots, minor units of the quote asset (`amount`, `cum_quote`, `fee`), ns.

    `reason` is 0 unless the order was rejected or ended by other than its last fill. `replaces` is the order that this
    one took the place of (cancel-replace), 0 for none. `event_sequence` is that of the last event it took in.
    """

    order_id: int
    account: int
    symbol: str
    client_order_id: str | None
    side: int
    order_type: int
    time_in_force: int
    post_only: bool
    self_trade_prevention: int
    price_ticks: int
    stop_ticks: int
    order_lots: int
    display_lots: int
    amount: int
    expires_ns: int
    status: int
    reason: int
    cum_lots: int
    leaves_lots: int
    cum_quote: int
    fee: int
    triggered: bool
    replaces: int
    created_ns: int
    updated_ns: int
    event_sequence: int
    fingerprint: int
    """A hash of what was asked, by which a repeated request with the same client order id is known."""
    verdict: str | None = None
    """The reason that a user's own check gave for refusing it."""


# Thousands a second are copied: this is what `copy.copy` looks for each time.
copied: Final[Callable[[OrderRecord], OrderRecord]] = cast("Any", OrderRecord).__copy__
"""Return an order as it stands, while the record goes on changing."""


class FillRecord(msgspec.Struct, kw_only=True, gc=False, frozen=True):
    """One side of an execution. Units: ticks, lots, fee in minor units of the quote asset, ns of venue time."""

    trade_id: int
    order_id: int
    account: int
    symbol: str
    client_order_id: str | None
    side: int
    is_maker: bool
    last_ticks: int
    last_lots: int
    fee: int
    ts_ns: int
    sequence: int
    """The sequence number of the command that led to it."""


class TradeRecord(msgspec.Struct, kw_only=True, gc=False, frozen=True):
    """The public match of a maker and a taker; `side` is the taker's. Units: ticks, lots, ns of venue time."""

    trade_id: int
    symbol: str
    side: int
    price_ticks: int
    lots: int
    ts_ns: int


class LedgerEntry(msgspec.Struct, kw_only=True, gc=False, frozen=True):
    """One posting to one account. Units: minor units of the asset; `free` and `held` are the balance after it."""

    event_sequence: int
    sequence: int
    ts_ns: int
    account: int
    asset: str
    delta_free: int
    delta_held: int
    cause: int
    order_id: int
    free: int
    held: int


class TrailBlock(msgspec.Struct, kw_only=True, frozen=True):
    """Some consecutive records of the audit trail, packed; `hash` chains it to the block before.

    Units: sequences of commands; times in nanoseconds of venue time
    """

    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    prev_hash: str
    hash: str
    payload: bytes
