"""Which symbol is priced by what: recordings and pushes as they were asked for, the model for the rest."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.instruments import Instrument
from fauxchange.platform.ports import Clock
from fauxchange.platform.recorded_books import is_recorded_book
from fauxchange.services.market_data.app.config import MarketDataConfig
from fauxchange.services.market_data.clients.bridges import BarTicks, BridgeTicks, CornerTicks
from fauxchange.services.market_data.clients.layouts import RecordingKind, symbol_of
from fauxchange.services.market_data.clients.push import PushSource
from fauxchange.services.market_data.clients.recorded_l2 import read_book_recording
from fauxchange.services.market_data.clients.recordings import Recording, read_recording
from fauxchange.services.market_data.clients.replay import ReplaySource, first_time_ns
from fauxchange.services.market_data.clients.tcp_feed import TcpJsonTransport, parse_push_argument
from fauxchange.services.market_data.core.model_files import ModelFile, read_model

Progress = Callable[[Path, int, int], None]
"""Hear how far the reading of a file is: bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What prices come from, checked and read, before anything starts."""

    modelled: tuple[Instrument, ...]
    recordings: tuple[Recording, ...]
    pushed: tuple[tuple[TcpJsonTransport, tuple[Instrument, ...]], ...]
    model: ModelFile | None = None
    """The model file that modelled prices come from, None for the shipped parameters."""

    @property
    def instruments(self) -> list[Instrument]:
        """Everything that is priced."""
        recorded = [recording.instrument for recording in self.recordings]
        pushed = [instrument for _, instruments in self.pushed for instrument in instruments]
        return [*self.modelled, *recorded, *pushed]

    @property
    def first_recorded_ns(self) -> int | None:
        """The earliest recorded time: a virtual clock that starts there repeats the recorded times."""
        return first_time_ns(self.recordings) if self.recordings else None

    def replay_sources(self, config: MarketDataConfig) -> list[ReplaySource]:
        """Return the recordings as sources; all keep the distances in time that they were recorded with."""
        bars_ns = [each.step_ns for each in self.recordings if each.kind is RecordingKind.BARS]
        # What is no bar lies on no grid, and would lose what was recorded before the next multiple of one.
        are_bars = len(bars_ns) == len(self.recordings)
        return [
            ReplaySource(
                recording,
                loop=config.replay_loop,
                anchor_ns=self.first_recorded_ns,
                grid_ns=max(bars_ns) if bars_ns and are_bars else 1,
                bar_ticks=bar_ticks(config, recording),
            )
            for recording in self.recordings
        ]

    def push_sources(self, clock: Clock) -> list[PushSource]:
        """Return the pushes as sources. Their backoff needs no seed: nothing that is replayed depends on it."""
        chance = random.SystemRandom().random
        return [PushSource(transport, instruments, clock, random=chance) for transport, instruments in self.pushed]


def read_sources(config: MarketDataConfig, progress: Progress | None = None) -> Sources:
    """Read and check everything that prices come from.

    Raises: ConfigurationError if a file or an address is bad, or two sources claim one symbol
    """
    claimed: dict[str, str] = {}

    def claim(symbol: str, source: str) -> None:
        if symbol in claimed:
            raise ConfigurationError(f"{symbol} cannot come from {source}: {claimed[symbol]} gives it already")
        claimed[symbol] = source

    recordings = []
    for replay in config.replays:
        path, symbol = replay.path, replay.symbol or symbol_of(replay.path)
        claim(symbol, str(path))
        known = config.instrument(symbol) if symbol in config.symbols else None
        read = read_book_recording if is_recorded_book(path) else read_recording
        recordings.append(
            read(
                path,
                symbol=symbol,
                instrument=known,
                start_ns=replay.start_ns,
                end_ns=replay.end_ns,
                progress=_of_file(progress, path),
            )
        )
    by_address: dict[tuple[str, int], list[str]] = {}
    for text in config.pushes:
        pushed, host, port = parse_push_argument(text)
        by_address.setdefault((host, port), []).extend([pushed] if pushed else config.symbols)
    transports = []
    for (host, port), symbols in by_address.items():
        for symbol in symbols:
            claim(symbol, f"tcp://{host}:{port}")
        instruments = tuple(config.instrument(symbol) for symbol in symbols)
        transports.append((TcpJsonTransport(host, port, symbols=symbols), instruments))
    modelled = [config.instrument(symbol) for symbol in config.symbols if symbol not in claimed]
    model = None if config.model_file is None else read_model(config.model_file)
    return Sources(tuple(modelled), tuple(recordings), tuple(transports), model)


def bar_ticks(config: MarketDataConfig, recording: Recording) -> BarTicks:
    """Return what a recording's bars are shown as, if it has bars."""
    if config.replay_ticks == "corners":
        return CornerTicks()
    return BridgeTicks(recording.instrument.symbol, recording.step_ns, interval_ns=config.interval_ns, seed=config.seed)


def served(sources: Sequence[Sequence[Instrument]], order: Sequence[str]) -> list[Instrument]:
    """Return all instruments, the configured ones first and in their order."""
    instruments = {instrument.symbol: instrument for group in sources for instrument in group}
    names = [*(symbol for symbol in order if symbol in instruments), *(n for n in instruments if n not in order)]
    return [instruments[name] for name in names]


def _of_file(progress: Progress | None, path: Path) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(path, done, total)
