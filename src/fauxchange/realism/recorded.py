"""Recorded files as bars: bars as they are, trades and quotes gathered into bars.

Files are read and checked as a replay reads them; here their rows become columns of numbers for statistics.
"""

from pathlib import Path

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Grid, parse_symbol
from fauxchange.domain.times import NS_PER_MINUTE, format_duration, format_time
from fauxchange.realism.bars import Bars, FloatArray, Int64Array, values_of
from fauxchange.services.market_data.clients.layouts import RecordingKind
from fauxchange.services.market_data.clients.recordings import Recording, read_recording
from fauxchange.services.market_data.clients.tables import Progress

CARRIED_BARS = 10
"""Over so many bars without a tick the last price stands; a longer silence is a gap."""
EDGE = 0.1
"""A bar at either end counts as whole if ticks reach into this share of it from its outer side."""


def bars_of_file(
    path: Path, symbol: str | None = None, interval_ns: int = NS_PER_MINUTE, progress: Progress | None = None
) -> Bars:
    """Read a recorded file (CSV or Parquet, plain or gzip; bars, trades or quotes) as bars.

    Raises: ConfigurationError naming file, line and column of what is wrong; InvalidRequest if it makes no bars, or the
            symbol is none
    """
    named = None if symbol is None else parse_symbol(symbol)
    return bars_of(read_recording(path, symbol=named, progress=progress), interval_ns)


def bars_of(recording: Recording, interval_ns: int = NS_PER_MINUTE) -> Bars:
    """Return a recording as bars: those it holds if they are of this length or longer, else bars of this length.

    Raises: InvalidRequest if recorded bars overlap, do not fit into longer ones, or ticks make no whole bar
    """
    if recording.kind is RecordingKind.BARS:
        bars = _recorded_bars(recording)
        if bars.interval_ns >= interval_ns:
            return bars
        if interval_ns % bars.interval_ns:
            raise InvalidRequest(
                f"{recording.path}: bars of {format_duration(bars.interval_ns)} do not fit into bars of "
                f"{format_duration(interval_ns)}",
                code="unsuitable_bars",
            )
        return bars.gathered(interval_ns)
    return _gathered_ticks(recording, interval_ns)


def _recorded_bars(recording: Recording) -> Bars:
    rows = recording.rows
    steps_ns = np.diff(rows[:, 0])
    early = np.flatnonzero(steps_ns < recording.step_ns)
    if len(early):
        raise InvalidRequest(
            f"{recording.path}: most bars are {format_duration(recording.step_ns)} apart, but the one of "
            f"{format_time(int(rows[early[0] + 1, 0]))} begins after {format_duration(int(steps_ns[early[0]]))}",
            code="unsuitable_bars",
        )
    prices = values_of(rows[:, 1:5], recording.instrument.prices)
    return Bars(
        symbol=recording.instrument.symbol,
        interval_ns=recording.step_ns,
        open_ns=rows[:, 0],
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=_volume(rows[:, 5], recording.instrument.quantities),
    )


def _gathered_ticks(recording: Recording, interval_ns: int) -> Bars:
    rows, instrument = recording.rows, recording.instrument
    if recording.kind is RecordingKind.QUOTES:
        prices = values_of(rows[:, 1] + rows[:, 2], instrument.prices) / 2.0
        volume = None
    else:
        prices = values_of(rows[:, 1], instrument.prices)
        volume = _volume(rows[:, 2], instrument.quantities)
    ticks = Bars(
        symbol=instrument.symbol,
        interval_ns=1,
        open_ns=rows[:, 0],
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=volume,
    )
    bars = ticks.gathered(interval_ns)
    first = int(recording.first_ns % interval_ns > EDGE * interval_ns)
    end = len(bars) - int(recording.last_ns % interval_ns < (1.0 - EDGE) * interval_ns)
    if end <= first:
        raise InvalidRequest(
            f"{recording.path}: {format_duration(recording.last_ns - recording.first_ns)} of {recording.kind.value} "
            f"hold no whole bar of {format_duration(interval_ns)}",
            code="too_little_history",
        )
    return bars.part(first, end).carried(CARRIED_BARS)


def _volume(lots: Int64Array, grid: Grid) -> FloatArray | None:
    # A file that tells no quantities is read as one in which nothing ever traded.
    return values_of(lots, grid) if lots.any() else None
