"""What the service takes from the settings, read once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal

from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.settings import ReplayFile, Settings
from fauxchange.platform.streams.endpoint import StreamLimits
from fauxchange.services.market_data.service.history import Retention

KEPT_MESSAGES_IN_ALL = 200_000
LEAST_KEPT_MESSAGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDataConfig:
    """The service's own settings. Units: nanoseconds where `_ns`, seconds where `_s`."""

    symbols: tuple[str, ...]
    instrument: Callable[[str], Instrument]
    initial_price: Callable[[str], Decimal]
    stated_price: Callable[[str], Decimal | None]
    """The first price of a symbol where the settings name one other than by default."""
    spread_bps: Callable[[str], Decimal]
    widening_spreads: bool
    seed: int
    speed: float
    interval_ns: int
    candle_interval_ns: int
    model_engine: Literal["auto", "compiled", "python"]
    model_file: Path | None
    replays: tuple[ReplayFile, ...]
    replay_loop: bool
    replay_ticks: Literal["bridge", "corners"]
    pushes: tuple[str, ...]
    scenario_file: Path | None
    snapshot_interval_ns: int
    retention: Retention
    resume_buffer: int
    limits: StreamLimits
    flush_interval_s: float
    max_grpc_streams: int

    def kept_messages(self, symbols: int) -> int:
        """Return how many messages each topic keeps: fewer than asked where many symbols would fill the memory."""
        return max(1, min(self.resume_buffer, max(LEAST_KEPT_MESSAGES, KEPT_MESSAGES_IN_ALL // max(1, symbols))))


def read_config(settings: Settings) -> MarketDataConfig:
    """Return the service's settings."""
    return MarketDataConfig(
        symbols=settings.default_symbols,
        instrument=settings.instrument,
        initial_price=settings.initial_price,
        stated_price=settings.stated_price,
        spread_bps=settings.spread_bps_of,
        widening_spreads=settings.spread_mode == "volatility",
        seed=settings.seed,
        speed=settings.speed,
        interval_ns=settings.price_update_interval_ns,
        candle_interval_ns=settings.candle_interval_ns,
        model_engine=settings.model_engine,
        model_file=settings.model,
        replays=tuple(
            replace(
                replay,
                # A span of its own is a file's whole span.
                start_ns=settings.replay_start_ns if replay.is_whole else replay.start_ns,
                end_ns=settings.replay_end_ns if replay.is_whole else replay.end_ns,
            )
            for replay in settings.replay
        ),
        replay_loop=settings.replay_loop,
        replay_ticks=settings.replay_ticks,
        pushes=settings.push,
        scenario_file=settings.scenario_file,
        snapshot_interval_ns=settings.snapshot_interval_ns,
        retention=Retention(
            prices_ns=settings.retention_prices_ns or None,
            second_candles_ns=settings.retention_candles_1s_ns or None,
            candles_ns=settings.retention_candles_ns or None,
            snapshots_ns=settings.retention_snapshots_ns or None,
        ),
        resume_buffer=settings.resume_buffer,
        limits=StreamLimits(
            connections=settings.ws_max_connections,
            subscriptions=settings.ws_max_subscriptions,
            message_bytes=settings.ws_max_frame_bytes,
            queue_bytes=settings.ws_queue_bytes,
            heartbeat_s=settings.ws_heartbeat_ns / NS_PER_S,
        ),
        flush_interval_s=settings.grpc_flush_interval_ns / NS_PER_S,
        max_grpc_streams=settings.grpc_max_streams,
    )
