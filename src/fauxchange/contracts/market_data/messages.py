"""What market data looks like as JSON, over REST and WebSocket alike. Decimals are strings, times RFC 3339 UTC."""

from typing import Annotated, Any, Literal

import msgspec

DecimalText = Annotated[
    str, msgspec.Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="An exact decimal.", examples=["60000.00"])
]
TimeText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        description="A time in UTC, RFC 3339 with microseconds.",
        examples=["2026-01-31T12:00:00.000000Z"],
    ),
]
SymbolText = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,16}/[A-Z0-9]{1,16}$", description="A symbol.", examples=["BTC/USD"])
]
SourceText = Literal["simulator", "replay", "fixed", "live"]


class SymbolMessage(msgspec.Struct, kw_only=True):
    """One symbol that is priced, with its grids."""

    symbol: SymbolText
    base: str
    quote: str
    tick_size: DecimalText
    lot_size: DecimalText
    source: SourceText


class PriceMessage(msgspec.Struct, kw_only=True):
    """The best bid and ask of a symbol, their middle, and the last traded price (null until there is one)."""

    symbol: SymbolText
    bid: DecimalText
    ask: DecimalText
    mid: DecimalText
    last: DecimalText | None
    sequence: int
    timestamp: TimeText


class CandleMessage(msgspec.Struct, kw_only=True):
    """Open, high, low and close of the mid over one interval, and the volume in it."""

    symbol: SymbolText
    interval: str
    open_time: TimeText
    open: DecimalText
    high: DecimalText
    low: DecimalText
    close: DecimalText
    volume: DecimalText
    closed: bool


class SnapshotMessage(msgspec.Struct, kw_only=True):
    """The present state of a market with the statistics of its last 24 hours; `change_24h` is a fraction."""

    symbol: SymbolText
    timestamp: TimeText
    sequence: int
    bid: DecimalText
    ask: DecimalText
    last_price: DecimalText | None
    open_24h: DecimalText
    high_24h: DecimalText
    low_24h: DecimalText
    volume_24h: DecimalText
    change_24h: DecimalText
    source: SourceText


class ScenarioMessage(msgspec.Struct, kw_only=True):
    """One scenario and how far it has come."""

    scenario_id: str
    kind: Literal["rally", "crash", "divergence", "reverting"]
    symbols: list[SymbolText]
    status: Literal["scheduled", "active", "ended", "cancelled"]
    phase: str | None
    start_time: TimeText
    end_time: TimeText
    magnitude: DecimalText
    specification: dict[str, Any]


class ScenarioEventMessage(msgspec.Struct, kw_only=True):
    """Something that happened to a scenario."""

    event: Literal["scheduled", "started", "phase", "ended", "cancelled"]
    timestamp: TimeText
    scenario: ScenarioMessage


class StreamFrame(msgspec.Struct, kw_only=True):
    """One message of a WebSocket stream."""

    channel: str
    symbol: str
    epoch: int
    first_sequence: int
    sequence: int
    type: Literal["snapshot", "delta", "event"]
    data: Any


class SymbolsResponse(msgspec.Struct):
    """All symbols."""

    symbols: list[SymbolMessage]


class PricesResponse(msgspec.Struct):
    """The latest price of every symbol that has one."""

    prices: list[PriceMessage]


class PriceHistoryResponse(msgspec.Struct):
    """A page of a symbol's prices, oldest first; `next_cursor` is null on the last page."""

    symbol: SymbolText
    prices: list[PriceMessage]
    next_cursor: str | None


class CandlesResponse(msgspec.Struct):
    """A page of a symbol's candles, oldest first; `next_cursor` is null on the last page."""

    symbol: SymbolText
    interval: str
    candles: list[CandleMessage]
    next_cursor: str | None


class ScenariosResponse(msgspec.Struct):
    """Scenarios, in the order in which they were asked for."""

    scenarios: list[ScenarioMessage]


class TrailResponse(msgspec.Struct):
    """A page of an audit trail as CloudEvents; `next_cursor` is null on the last page."""

    events: list[dict[str, Any]]
    next_cursor: str | None
