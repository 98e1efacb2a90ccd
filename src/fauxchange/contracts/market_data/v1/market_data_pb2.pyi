import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_TYPE_UNSPECIFIED: _ClassVar[MessageType]
    MESSAGE_TYPE_SNAPSHOT: _ClassVar[MessageType]
    MESSAGE_TYPE_DELTA: _ClassVar[MessageType]
    MESSAGE_TYPE_EVENT: _ClassVar[MessageType]
MESSAGE_TYPE_UNSPECIFIED: MessageType
MESSAGE_TYPE_SNAPSHOT: MessageType
MESSAGE_TYPE_DELTA: MessageType
MESSAGE_TYPE_EVENT: MessageType

class Symbol(_message.Message):
    __slots__ = ("symbol", "base", "quote", "tick_size", "lot_size", "source")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    base: str
    quote: str
    tick_size: str
    lot_size: str
    source: str
    def __init__(self, symbol: _Optional[str] = ..., base: _Optional[str] = ..., quote: _Optional[str] = ..., tick_size: _Optional[str] = ..., lot_size: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("symbol", "bid", "ask", "mid", "last", "sequence", "timestamp")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    bid: str
    ask: str
    mid: str
    last: str
    sequence: int
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., bid: _Optional[str] = ..., ask: _Optional[str] = ..., mid: _Optional[str] = ..., last: _Optional[str] = ..., sequence: _Optional[int] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Candle(_message.Message):
    __slots__ = ("symbol", "interval", "open_time", "open", "high", "low", "close", "volume", "closed")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    open_time: _timestamp_pb2.Timestamp
    open: str
    high: str
    low: str
    close: str
    volume: str
    closed: bool
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., close: _Optional[str] = ..., volume: _Optional[str] = ..., closed: _Optional[bool] = ...) -> None: ...

class MarketSnapshot(_message.Message):
    __slots__ = ("symbol", "timestamp", "sequence", "bid", "ask", "last_price", "open_24h", "high_24h", "low_24h", "volume_24h", "change_24h", "source")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BID_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    OPEN_24H_FIELD_NUMBER: _ClassVar[int]
    HIGH_24H_FIELD_NUMBER: _ClassVar[int]
    LOW_24H_FIELD_NUMBER: _ClassVar[int]
    VOLUME_24H_FIELD_NUMBER: _ClassVar[int]
    CHANGE_24H_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    timestamp: _timestamp_pb2.Timestamp
    sequence: int
    bid: str
    ask: str
    last_price: str
    open_24h: str
    high_24h: str
    low_24h: str
    volume_24h: str
    change_24h: str
    source: str
    def __init__(self, symbol: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sequence: _Optional[int] = ..., bid: _Optional[str] = ..., ask: _Optional[str] = ..., last_price: _Optional[str] = ..., open_24h: _Optional[str] = ..., high_24h: _Optional[str] = ..., low_24h: _Optional[str] = ..., volume_24h: _Optional[str] = ..., change_24h: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class ListSymbolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSymbolsResponse(_message.Message):
    __slots__ = ("symbols",)
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedCompositeFieldContainer[Symbol]
    def __init__(self, symbols: _Optional[_Iterable[_Union[Symbol, _Mapping]]] = ...) -> None: ...

class GetPriceRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class ListPricesRequest(_message.Message):
    __slots__ = ("symbols",)
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPricesResponse(_message.Message):
    __slots__ = ("prices",)
    PRICES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[Price]
    def __init__(self, prices: _Optional[_Iterable[_Union[Price, _Mapping]]] = ...) -> None: ...

class GetPriceHistoryRequest(_message.Message):
    __slots__ = ("symbol", "start", "end", "limit", "cursor", "newest_first")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    limit: int
    cursor: str
    newest_first: bool
    def __init__(self, symbol: _Optional[str] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class GetPriceHistoryResponse(_message.Message):
    __slots__ = ("prices", "next_cursor")
    PRICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[Price]
    next_cursor: str
    def __init__(self, prices: _Optional[_Iterable[_Union[Price, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class GetCandlesRequest(_message.Message):
    __slots__ = ("symbol", "interval", "start", "end", "limit", "cursor", "newest_first")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    limit: int
    cursor: str
    newest_first: bool
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class GetCandlesResponse(_message.Message):
    __slots__ = ("candles", "next_cursor")
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    candles: _containers.RepeatedCompositeFieldContainer[Candle]
    next_cursor: str
    def __init__(self, candles: _Optional[_Iterable[_Union[Candle, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class Subscription(_message.Message):
    __slots__ = ("symbol", "from_sequence", "epoch")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    from_sequence: int
    epoch: int
    def __init__(self, symbol: _Optional[str] = ..., from_sequence: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class SnapshotRequired(_message.Message):
    __slots__ = ("symbol", "from_sequence", "epoch", "sequence")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    from_sequence: int
    epoch: int
    sequence: int
    def __init__(self, symbol: _Optional[str] = ..., from_sequence: _Optional[int] = ..., epoch: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("timestamp",)
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamPricesRequest(_message.Message):
    __slots__ = ("subscriptions",)
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ...) -> None: ...

class PriceUpdate(_message.Message):
    __slots__ = ("epoch", "first_sequence", "sequence", "type", "price")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_sequence: int
    sequence: int
    type: MessageType
    price: Price
    def __init__(self, epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., sequence: _Optional[int] = ..., type: _Optional[_Union[MessageType, str]] = ..., price: _Optional[_Union[Price, _Mapping]] = ...) -> None: ...

class PriceBatch(_message.Message):
    __slots__ = ("updates", "snapshots_required", "heartbeat")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[PriceUpdate]
    snapshots_required: _containers.RepeatedCompositeFieldContainer[SnapshotRequired]
    heartbeat: Heartbeat
    def __init__(self, updates: _Optional[_Iterable[_Union[PriceUpdate, _Mapping]]] = ..., snapshots_required: _Optional[_Iterable[_Union[SnapshotRequired, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class StreamCandlesRequest(_message.Message):
    __slots__ = ("interval", "subscriptions")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    interval: str
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    def __init__(self, interval: _Optional[str] = ..., subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ...) -> None: ...

class CandleUpdate(_message.Message):
    __slots__ = ("epoch", "first_sequence", "sequence", "type", "candle")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CANDLE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_sequence: int
    sequence: int
    type: MessageType
    candle: Candle
    def __init__(self, epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., sequence: _Optional[int] = ..., type: _Optional[_Union[MessageType, str]] = ..., candle: _Optional[_Union[Candle, _Mapping]] = ...) -> None: ...

class CandleBatch(_message.Message):
    __slots__ = ("updates", "snapshots_required", "heartbeat")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[CandleUpdate]
    snapshots_required: _containers.RepeatedCompositeFieldContainer[SnapshotRequired]
    heartbeat: Heartbeat
    def __init__(self, updates: _Optional[_Iterable[_Union[CandleUpdate, _Mapping]]] = ..., snapshots_required: _Optional[_Iterable[_Union[SnapshotRequired, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class StreamScenariosRequest(_message.Message):
    __slots__ = ("from_sequence", "epoch")
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    from_sequence: int
    epoch: int
    def __init__(self, from_sequence: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Scenario(_message.Message):
    __slots__ = ("scenario_id", "kind", "symbols", "status", "phase", "start_time", "end_time", "magnitude", "specification")
    SCENARIO_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    SPECIFICATION_FIELD_NUMBER: _ClassVar[int]
    scenario_id: str
    kind: str
    symbols: _containers.RepeatedScalarFieldContainer[str]
    status: str
    phase: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    magnitude: str
    specification: str
    def __init__(self, scenario_id: _Optional[str] = ..., kind: _Optional[str] = ..., symbols: _Optional[_Iterable[str]] = ..., status: _Optional[str] = ..., phase: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., magnitude: _Optional[str] = ..., specification: _Optional[str] = ...) -> None: ...

class ScenarioUpdate(_message.Message):
    __slots__ = ("epoch", "first_sequence", "sequence", "type", "event", "timestamp", "scenarios")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_sequence: int
    sequence: int
    type: MessageType
    event: str
    timestamp: _timestamp_pb2.Timestamp
    scenarios: _containers.RepeatedCompositeFieldContainer[Scenario]
    def __init__(self, epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., sequence: _Optional[int] = ..., type: _Optional[_Union[MessageType, str]] = ..., event: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scenarios: _Optional[_Iterable[_Union[Scenario, _Mapping]]] = ...) -> None: ...

class ScenarioBatch(_message.Message):
    __slots__ = ("updates", "snapshots_required", "heartbeat")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[ScenarioUpdate]
    snapshots_required: _containers.RepeatedCompositeFieldContainer[SnapshotRequired]
    heartbeat: Heartbeat
    def __init__(self, updates: _Optional[_Iterable[_Union[ScenarioUpdate, _Mapping]]] = ..., snapshots_required: _Optional[_Iterable[_Union[SnapshotRequired, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...
