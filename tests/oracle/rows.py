"""Commands as the kernel takes them, and its events as the reference venue says them."""

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

NO_SUCH = 99
"""The number of a word that the kernel does not have."""

_LIMITS = ("min_lots", "max_lots", "min_notional", "max_notional", "band", "max_open_orders")
_NEW = ("account", "instrument", "side", "order_type", "time_in_force", "self_trade", "post_only", "price_ticks")
_NEW += ("stop_ticks", "order_lots", "display_lots", "quote_amount", "expires_ns")
_CHANGE = ("account", "order_id", "price_ticks", "order_lots")
FIELDS = {
    "CREATE_ASSET": ("decimals",),
    "CREATE_ACCOUNT": ("tier",),
    "SET_ACCOUNT_STATUS": ("account", "status"),
    "SET_TIER_FEES": ("tier", "instrument", "maker_rate", "taker_rate"),
    "CREATE_INSTRUMENT": ("base_asset", "quote_asset", "tick_value", "lot_value", "unfunded", *_LIMITS),
    "SET_INSTRUMENT_STATUS": ("instrument", "status"),
    "SET_REFERENCE_PRICE": ("instrument", "price_ticks"),
    "SET_LIMITS": ("instrument", *_LIMITS),
    "DEPOSIT": ("account", "asset", "amount"),
    "WITHDRAW": ("account", "asset", "amount"),
    "PLACE": (*_NEW, "refused"),
    "CANCEL": ("account", "order_id"),
    "CANCEL_ALL": ("account", "instrument"),
    "AMEND": _CHANGE,
    "REPLACE_IN_PLACE": _CHANGE,
    "CANCEL_REPLACE": (*_NEW, "order_id"),
    "EXPIRE": (),
    "NOTE": (),
}
"""What each kind of command names; the other columns stay 0."""

NAMES = {
    "self_trade": "self_trade_prevention",
    "quote_amount": "amount",
    "maker_rate": "maker_fee_rate",
    "taker_rate": "taker_fee_rate",
    "band": "price_band",
}
"""Where the kernel calls a field something else."""

ORDER_FIELDS = ("reason", "order_id", "account", "instrument", "side", "price_ticks", "order_lots", "cum_lots")
ORDER_FIELDS += ("leaves_lots", "order_status")
TRADE_FIELDS = ("trade_id", "instrument", "maker_order_id", "order_id", "maker_account", "account", "side")
TRADE_FIELDS += ("price_ticks", "last_lots", "maker_fee", "taker_fee", "maker_leaves_lots", "cum_lots")
COMPARED = {
    "ASSET_CREATED": ("asset",),
    "ACCOUNT_CREATED": ("account",),
    "ACCOUNT_CHANGED": ("account",),
    "FEES_CHANGED": ("instrument",),
    "INSTRUMENT_CREATED": ("instrument",),
    "INSTRUMENT_CHANGED": ("instrument",),
    "COMMAND_REJECTED": ("reason", "order_id"),
    "ORDER_REJECTED": ("reason", "order_id"),
    "ORDER_ACCEPTED": ORDER_FIELDS,
    "ORDER_TRIGGERED": ORDER_FIELDS,
    "ORDER_AMENDED": ORDER_FIELDS,
    "ORDER_REPLACED": ORDER_FIELDS,
    "ORDER_CANCELED": ORDER_FIELDS,
    "ORDER_EXPIRED": ORDER_FIELDS,
    "TRADE": TRADE_FIELDS,
}
"""What of each event is said by both."""


class Translator:
    """Between the words of the reference venue and the numbers of one kernel package."""

    def __init__(self, layout: ModuleType, vocabulary: ModuleType) -> None:
        self.columns: dict[str, int] = dict(layout.COMMAND_COLUMNS)
        self.width: int = layout.COMMAND_WIDTH
        self.row_type = layout.COMMAND
        self.kinds = {int(kind): kind.name for kind in vocabulary.EventKind}
        self.event_columns: dict[str, int] = dict(layout.EVENT_COLUMNS)
        self.words = {
            "kind": vocabulary.CommandKind,
            "side": vocabulary.Side,
            "order_type": vocabulary.OrderType,
            "time_in_force": vocabulary.TimeInForce,
            "self_trade": vocabulary.SelfTradePrevention,
        }
        self.statuses = {
            "SET_ACCOUNT_STATUS": vocabulary.AccountStatus,
            "SET_INSTRUMENT_STATUS": vocabulary.InstrumentStatus,
        }
        self.meanings = {
            "reason": {int(word): word.name for word in vocabulary.RejectReason},
            "side": {int(word): word.name for word in vocabulary.Side},
            "order_status": {int(word): word.name for word in vocabulary.OrderStatus},
        }

    def row(self, command: SimpleNamespace, sequence: int) -> np.ndarray:
        """Return a command as one row."""
        values = [0] * self.width
        values[self.columns["sequence"]] = sequence
        values[self.columns["ts_ns"]] = command.ts_ns
        values[self.columns["kind"]] = self.number("kind", command.kind, command.kind)
        for name in FIELDS[command.kind]:
            column = self.columns[NAMES.get(name, name)]
            values[column] = self.number(name, getattr(command, name), command.kind)
        return np.array(values, dtype=np.int64).view(self.row_type)

    def number(self, name: str, value: Any, kind: str) -> int:
        """Return the kernel's number for a value."""
        words = self.statuses[kind] if name == "status" else self.words.get(name)
        if words is None:
            return int(value)
        return int(words[value]) if value in words.__members__ else NO_SUCH

    def told(self, events: list[list[int]]) -> list[dict[str, Any]]:
        """Return the kernel's events (rows of words) in the words of the reference venue."""
        told = []
        for row in events:
            kind = self.kinds[row[self.event_columns["kind"]]]
            if kind in COMPARED:
                told.append({"kind": kind} | {name: self.field(row, name) for name in COMPARED[kind]})
        return told

    def field(self, row: list[int], name: str) -> Any:
        """Return one field of an event, as a word where it is one."""
        value = row[self.event_columns[name]]
        return self.meanings[name].get(value, value) if name in self.meanings else value
