"""Tapes of recorded files: trades with best bid and offer, or the raw stream of a whole book."""

from pathlib import Path
from typing import Final

import numpy as np

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.recorded_books import Progress, RecordedBook, read_recorded_book
from fauxchange.realism.bars import Int64Array
from fauxchange.realism.book.tape import BookTape, walk
from fauxchange.services.market_data.clients.cells import TextColumn, parse_numbers, powers_of_ten
from fauxchange.services.market_data.clients.layouts import RecordingKind, recognise, symbol_of
from fauxchange.services.market_data.clients.recordings import Recording, read_recording
from fauxchange.services.market_data.clients.tables import OpenTable

SIDES: Final = {"buy": 1, "b": 1, "bid": 1, "sell": -1, "s": -1, "ask": -1}
SIDE_COLUMNS: Final = ("side", "aggressor", "aggressor_side", "taker_side", "direction")
EXCHANGE_COLUMNS: Final = ("exch_ms", "exch_ns", "exch_us", "exchange_time", "trade_time", "transact_time")


def tape_of_stream(path: Path, *, name: str | None = None, progress: Progress | None = None) -> BookTape:
    """Return the tape of a recorded stream of raw messages. Raises: ConfigurationError naming what is bad."""
    symbol = symbol_of(path)
    return tape_of_book(read_recorded_book(path, symbol=symbol, progress=progress), name=name or path.name)


def tape_of_book(book: RecordedBook, *, name: str) -> BookTape:
    """Return the tape of a recorded book, from when it is known first."""
    steps = np.diff(book.offsets)
    times = np.repeat(book.ts_ns, steps)
    groups = np.repeat(np.arange(len(steps)), steps)
    end_ns = book.last_ns + 1
    history = walk((times, book.side, book.ticks, book.lots), groups, start_ns=book.first_ns, end_ns=end_ns)
    ns, ticks, lots, sign, moments = book.trades[book.trades[:, 0] >= book.first_ns].T
    return BookTape(
        name=name,
        tick_size=float(book.instrument.tick_size),
        lot_size=float(book.instrument.lot_size),
        start_ns=book.first_ns,
        end_ns=end_ns,
        trade_ns=ns,
        trade_ticks=ticks,
        trade_lots=lots,
        trade_sign=sign,
        trade_order=_orders(moments, sign),
        quote_ns=history.quotes[:, 0],
        bid_ticks=history.quotes[:, 1],
        bid_lots=history.quotes[:, 2],
        ask_ticks=history.quotes[:, 3],
        ask_lots=history.quotes[:, 4],
        depth=history.depth,
        level_changes=history.level_changes,
    )


def tape_of_files(
    trades: Path, quotes: Path, *, depth: Path | None = None, name: str | None = None, progress: Progress | None = None
) -> BookTape:
    """Return the tape of recorded trades and best bids and offers; depth from a raw stream of the same minutes.

    Raises: ConfigurationError naming what is bad, or that the files have no time in common
    """
    traded, quoted = read_recording(trades, progress=progress), read_recording(quotes, progress=progress)
    _check_kinds(traded, quoted)
    if quoted.instrument.tick_size != traded.instrument.tick_size:
        traded = read_recording(trades, instrument=quoted.instrument)
        quoted = read_recording(quotes, instrument=traded.instrument)
    start_ns = max(int(quoted.first_ns), int(traded.first_ns))
    end_ns = min(int(quoted.last_ns), int(traded.last_ns)) + 1
    if end_ns - start_ns <= 1:
        raise ConfigurationError(
            f"{trades} and {quotes} have no time in common; take trades and quotes of the same minutes",
            code="bad_recording",
        )
    ns, ticks, lots = traded.rows.T
    sign, moments = _sides(traded)
    bid_lots, ask_lots = _sizes(quoted)
    deep = None if depth is None else tape_of_stream(depth, progress=progress)
    whole = BookTape(
        name=name or trades.name,
        tick_size=float(quoted.instrument.tick_size),
        lot_size=float(quoted.instrument.lot_size),
        start_ns=int(min(quoted.first_ns, traded.first_ns)),
        end_ns=int(max(quoted.last_ns, traded.last_ns)) + 1,
        trade_ns=ns,
        trade_ticks=ticks,
        trade_lots=lots,
        trade_sign=sign,
        trade_order=_orders(moments, sign),
        quote_ns=quoted.rows[:, 0],
        bid_ticks=quoted.rows[:, 1],
        bid_lots=bid_lots,
        ask_ticks=quoted.rows[:, 2],
        ask_lots=ask_lots,
        depth=None
        if deep is None or deep.depth is None
        else deep.depth * deep.lot_size / float(quoted.instrument.lot_size),
        level_changes=None if deep is None else deep.level_changes,
    )
    return whole.part(start_ns, end_ns) if deep is None else whole


def _check_kinds(traded: Recording, quoted: Recording) -> None:
    for recording, kind in ((traded, RecordingKind.TRADES), (quoted, RecordingKind.QUOTES)):
        if recording.kind is not kind:
            raise ConfigurationError(
                f"{recording.path} holds {recording.kind.value}, not {kind.value}: a book is measured by its trades "
                "and by its best bids and offers",
                code="bad_recording",
            )


def _orders(moments: Int64Array, sign: Int64Array) -> Int64Array:
    """Return numbers of aggressive orders: prints of one moment and side are one order."""
    if not len(moments):
        return np.zeros(0, dtype=np.int64)
    begins = (np.diff(moments, prepend=moments[:1]) != 0) | (np.diff(sign, prepend=sign[:1]) != 0)
    numbers: Int64Array = np.cumsum(begins).astype(np.int64)
    return numbers


def _sides(traded: Recording) -> tuple[Int64Array, Int64Array]:
    """Return who took in each print (1 a buyer, -1 a seller), and the moment by which prints belong together."""
    with OpenTable(traded.path) as opened:
        lower = {name.lower(): name for name in opened.table.header}
        side = next((lower[name] for name in SIDE_COLUMNS if name in lower), None)
        if side is None:
            raise ConfigurationError(
                f"{traded.path} does not say who took: a column `side` of buy and sell is needed, beside "
                f"{', '.join(opened.table.header)[:200]}",
                code="bad_recording",
            )
        moment = next((lower[name] for name in EXCHANGE_COLUMNS if name in lower), None)
        signs: list[int] = []
        moments: list[Int64Array] = []
        for chunk in opened.table.chunks([side, *([moment] if moment else [])]):
            signs += [_sign(traded.path, chunk.columns[side], row) for row in range(len(chunk.places))]
            if moment:
                moments.append(parse_numbers(chunk.columns[moment]).mantissa)
    return np.array(signs, dtype=np.int64), np.concatenate(moments) if moments else traded.rows[:, 0]


def _sign(path: Path, column: TextColumn, row: int) -> int:
    text = column.text(row).lower()
    sign = SIDES.get(text)
    if sign is None:
        raise ConfigurationError(f"{path}: the side {text[:20]!r} is neither buy nor sell", code="bad_recording")
    return sign


def _sizes(quoted: Recording) -> tuple[Int64Array, Int64Array]:
    """Return the lots at best bid and offer."""
    grid = quoted.instrument.quantities
    with OpenTable(quoted.path) as opened:
        names = recognise(quoted.path, opened.table).quantities
        if len(names) < 2:
            raise ConfigurationError(
                f"{quoted.path} has no quantities at bid and ask (columns bid_qty and ask_qty)", code="bad_recording"
            )
        parts: list[list[Int64Array]] = [[], []]
        for chunk in opened.table.chunks(names):
            for part, name in zip(parts, names, strict=True):
                numbers = parse_numbers(chunk.columns[name])
                units = numbers.mantissa * powers_of_ten(np.maximum(0, grid.decimals - numbers.decimals))
                part.append(units // grid.units)
    bid, ask = (np.concatenate(part) for part in parts)
    return bid, ask
