"""Synthetic history as files: bars or ticks of the model that the feed runs, in the columns of recorded files.

The bars are the candles of a running service with the same seed, step and start, and the ticks are its quotes and
prints. What ties symbols together is the market's noise, which follows from the seed, so they can be spread over
processes: neither who simulates a symbol nor which others there are changes a byte of it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from fauxchange.domain.arithmetic import exp, exp_each, normals
from fauxchange.domain.chance import WordStream
from fauxchange.domain.errors import (
    Conflict,
    FauxchangeError,
    InvalidRequest,
    InvariantViolation,
    Unavailable,
    check,
)
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, format_duration, format_time
from fauxchange.realism.bars import Bars, Int64Array, values_of
from fauxchange.realism.history_files import (
    AnyArray,
    Column,
    FileFormat,
    HistoryFile,
    Kind,
    Written,
    cannot_write,
    unfinished,
)
from fauxchange.realism.simulating import check_times, finished, opened_source, quotes_around, simulated_blocks
from fauxchange.services.market_data.core.batches import PriceBatch
from fauxchange.services.market_data.core.parameters import LmvTable
from fauxchange.services.market_data.core.scenarios import Timeline
from fauxchange.services.market_data.service.simulation import MAX_INTERVAL_NS, MIN_INTERVAL_NS

Progress = Callable[[int], None]
"""Told how many steps are done, of all symbols together."""
Block = tuple[int, list[Sequence[AnyArray]]]
"""How many steps of each symbol are done, and rows for each file, in columns."""

MOST_YEARS = 150
TICK_BLOCK_STEPS = 4_096
ROWS_AT_ONCE = 1 << 15
QUIET_STEPS = 2_000_000
"""Less work than this is not worth another process, which has to load the compiled code first."""
TOLD = 200
TOLD_AT_LEAST = 200_000
"""How often the progress is told: so many times in all, or after so many steps of a symbol if that is sooner."""
SIZE_SHARE = 0.1
"""What usually stands at the best price, as a share of what usually trades in a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is to be generated: bars of `bar_ns`, or ticks where that is None, of every `step_ns` of the model.

    Units: times in nanoseconds; prices in quote currency and spreads in basis points, by symbol
    """

    instruments: tuple[Instrument, ...]
    table: LmvTable
    seed: int
    start_ns: int
    end_ns: int
    step_ns: int
    bar_ns: int | None
    initial_prices: Mapping[str, Decimal]
    spread_bps: Mapping[str, float]
    format: FileFormat = FileFormat.CSV_GZ
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def steps(self) -> int:
        """How many steps the model takes of each symbol."""
        return (self.end_ns - self.start_ns) // self.step_ns

    def part(self, first: int, every: int) -> "History":
        """Return the history of the symbol `first` and each `every`th after it."""
        return replace(self, instruments=self.instruments[first::every])

    def check(self) -> None:
        """Refuse what makes no sense. Raises: InvalidRequest."""
        if self.end_ns - self.start_ns > MOST_YEARS * 365 * 24 * 60 * NS_PER_MINUTE or self.end_ns > 2**62:
            raise InvalidRequest(f"history ends before 2116 and is at most {MOST_YEARS} years long", field="weeks")
        if self.start_ns < 0:
            raise InvalidRequest("history begins in 1970 or later", field="start")
        if self.bar_ns is not None and self.bar_ns % NS_PER_S:
            raise InvalidRequest(
                f"bars are whole seconds long, not {format_duration(self.bar_ns)}; use --ticks for what is shorter",
                field="interval",
            )
        if self.bar_ns is not None and self.start_ns % self.bar_ns:
            raise InvalidRequest(
                f"no candle of {format_duration(self.bar_ns)} begins at {format_time(self.start_ns)}; "
                f"the one before began at {format_time(self.start_ns - self.start_ns % self.bar_ns)}",
                field="start",
            )
        if not MIN_INTERVAL_NS <= self.step_ns <= MAX_INTERVAL_NS:
            raise InvalidRequest(
                f"a step takes from {format_duration(MIN_INTERVAL_NS)} to {format_duration(MAX_INTERVAL_NS)}, "
                f"not {format_duration(self.step_ns)}",
                field="step",
            )
        check_times(self.start_ns, self.end_ns, self.step_ns, self.bar_ns or self.step_ns)

    def files(self, symbol: str) -> list[str]:
        """Return the names of a symbol's files; they begin as recorded ones do, so that a replay knows the symbol."""
        start = datetime.fromtimestamp(self.start_ns // NS_PER_S, UTC)
        day = f"{start:%Y-%m-%d}" if start.hour == start.minute == start.second == 0 else f"{start:%Y-%m-%dt%H%M%S}"
        kinds = ["bbo", "trades"] if self.bar_ns is None else [format_duration(self.bar_ns)]
        beginning = symbol.lower().replace("/", "_")
        return [f"{beginning}_model_{kind}_seed{self.seed}_{day}.{self.format.value}" for kind in kinds]


def generate(
    history: History,
    folder: Path,
    *,
    force: bool = False,
    processes: int | None = None,
    progress: Progress | None = None,
) -> list[Written]:
    """Write the files of every symbol into a folder, all of them or none; return them in the order of the symbols.

    Raises: InvalidRequest if the history makes no sense; Conflict if a file is there already and `force` is not given;
            Unavailable if the disk is full or forbidden; ConfigurationError if what writes Parquet is missing
    """
    history.check()
    paths = [folder / name for each in history.instruments for name in history.files(each.symbol)]
    there = [path for path in paths if path.exists()]
    folder_there = next((path for path in there if path.is_dir()), None)
    if folder_there is not None:
        raise Conflict(
            f"{folder_there} is a folder; a file of that name is to be written",
            code="history_exists",
            details={"file": str(folder_there)},
        )
    if there and not force:
        raise Conflict(
            f"{there[0]} is there already{f', and {len(there) - 1} more' if len(there) > 1 else ''}; "
            "write into another folder, or replace it with --force",
            code="history_exists",
            details={"file": str(there[0])},
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        cannot_write(folder, exc)
    count = min(_processes(history) if processes is None else processes, len(history.instruments))
    written: list[Written] = []
    try:
        if count > 1:
            _write_in_processes([history.part(index, count) for index in range(count)], folder, written, progress)
        else:
            write_part(history, folder, written, progress)
        for file in written:
            _name(file)
    except BaseException:
        # By their names: a worker may have finished files that it could not tell of any more.
        for path in paths:
            with suppress(OSError):
                unfinished(path).unlink()
        raise
    order = {path: place for place, path in enumerate(paths)}
    return sorted(written, key=lambda file: order[file.path])


def _name(file: Written) -> None:
    try:
        file.part.replace(file.path)
    except OSError as exc:
        cannot_write(file.path, exc)


def write_part(history: History, folder: Path, written: list[Written], progress: Progress | None = None) -> None:
    """Write the files of all symbols under the names of unfinished ones, and add them to those that are written."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(HistoryFile(each.symbol, folder / name, columns, history.format))
            for each in history.instruments
            for name, columns in zip(history.files(each.symbol), _columns(history, each), strict=True)
        ]
        told_every, told = min(max(1, history.steps // TOLD), TOLD_AT_LEAST), 0
        for done, tables in _bar_blocks(history) if history.bar_ns is not None else _tick_blocks(history):
            for file, rows in zip(files, tables, strict=True):
                file.write(rows)
            if progress is not None and (done - told >= told_every or done == history.steps):
                told = done
                progress(done * len(history.instruments))
        written += [file.finish() for file in files]


def _columns(history: History, instrument: Instrument) -> list[list[Column]]:
    return _tick_columns(instrument) if history.bar_ns is None else [_bar_columns(instrument)]


def _bar_columns(instrument: Instrument) -> list[Column]:
    prices, quantities = instrument.prices.decimals, instrument.quantities.decimals
    return [
        Column("time", Kind.TIME),
        *(Column(name, Kind.DECIMAL, prices) for name in ("open", "high", "low", "close")),
        Column("volume", Kind.DECIMAL, quantities),
    ]


def _tick_columns(instrument: Instrument) -> list[list[Column]]:
    prices, quantities = instrument.prices.decimals, instrument.quantities.decimals
    bbo = [
        Column("recv_ns", Kind.WHOLE),
        Column("bid", Kind.DECIMAL, prices),
        Column("bid_qty", Kind.DECIMAL, quantities),
        Column("ask", Kind.DECIMAL, prices),
        Column("ask_qty", Kind.DECIMAL, quantities),
    ]
    trades = [
        Column("recv_ns", Kind.WHOLE),
        Column("exch_ms", Kind.WHOLE),
        Column("price", Kind.DECIMAL, prices),
        Column("qty", Kind.DECIMAL, quantities),
        Column("side", Kind.TEXT),
    ]
    return [bbo, trades]


def _bar_blocks(history: History) -> Iterator[Block]:
    """Yield how many steps are done, and the bars made since, many at a time."""
    bar_ns = history.bar_ns or history.step_ns
    blocks = simulated_blocks(
        history.table,
        history.instruments,
        seed=history.seed,
        start_ns=history.start_ns,
        end_ns=history.end_ns,
        step_ns=history.step_ns,
        bar_ns=bar_ns,
        timeline=history.timeline,
        initial_prices=history.initial_prices,
        spread_bps=history.spread_bps,
    )
    waiting: dict[str, list[Bars]] = {each.symbol: [] for each in history.instruments}
    bars = done = 0
    for block in blocks:
        for symbol, part in block.items():
            waiting[symbol].append(part)
        made = len(next(iter(block.values())))
        bars += made
        done += made * (bar_ns // history.step_ns)
        # Rows are cheaper to write by the thousand; how far it is can be told at any time.
        tables: list[Sequence[AnyArray]] = [[]] * len(waiting)
        if bars >= ROWS_AT_ONCE or done == history.steps:
            tables = [_bar_rows(parts) for parts in waiting.values()]
            waiting, bars = {symbol: [] for symbol in waiting}, 0
        yield done, tables


def _bar_rows(parts: Sequence[Bars]) -> list[AnyArray]:
    volumes = [part.volume for part in parts if part.volume is not None]
    check(len(volumes) == len(parts), "bars of the model have a volume")
    names = ("open_ns", "open", "high", "low", "close")
    return [*(np.concatenate([getattr(part, name) for part in parts]) for name in names), np.concatenate(volumes)]


def _tick_blocks(history: History) -> Iterator[Block]:
    """Yield how many steps are done, and the quotes and the trades of each symbol made since."""
    source = opened_source(
        history.table,
        history.instruments,
        seed=history.seed,
        start_ns=history.start_ns,
        step_ns=history.step_ns,
        timeline=history.timeline,
        initial_prices=history.initial_prices,
    )
    makers = [_Ticks(history, instrument) for instrument in history.instruments]
    done = 0
    while done < history.steps:
        batch = finished(source.next(min(TICK_BLOCK_STEPS, history.steps - done)))
        if batch is None:
            raise InvariantViolation("a model never ends")
        steps = len(batch) // len(makers)
        yield done + steps, [table for index, maker in enumerate(makers) for table in maker.of(batch, index, done)]
        done += steps


class _Ticks:
    """Make the quotes and the trades of one symbol."""

    def __init__(self, history: History, instrument: Instrument) -> None:
        self._instrument = instrument
        self._symbols = len(history.instruments)
        self._spread_bps = history.spread_bps[instrument.symbol]
        self._sizes = _Sizes(history, instrument)
        self._sides = _Sides()

    def of(self, batch: PriceBatch, index: int, first: int) -> list[Sequence[AnyArray]]:
        """Return the rows of both tables of a batch, whose first step is that with the number `first`."""
        mine = slice(index, None, self._symbols)
        times_ns, mids = batch.ts_ns[mine], batch.mid_half_ticks[mine]
        lasts, lots = batch.last_ticks[mine], batch.volume_lots[mine]
        prices, quantities = self._instrument.prices, self._instrument.quantities
        bids, asks = quotes_around(mids, self._spread_bps)
        bid_lots, ask_lots = self._sizes.of(first, len(mids))
        printed, buys = lots > 0, self._sides.of(mids)
        return [
            [
                times_ns,
                values_of(bids, prices),
                values_of(bid_lots, quantities),
                values_of(asks, prices),
                values_of(ask_lots, quantities),
            ],
            [
                times_ns[printed],
                times_ns[printed] // NS_PER_MS,
                values_of(lasts[printed], prices),
                values_of(lots[printed], quantities),
                np.where(buys[printed] > 0, "buy", "sell"),
            ],
        ]


class _Sizes:
    """What stands at the best prices: log-normal around a share of what usually trades in a minute."""

    def __init__(self, history: History, instrument: Instrument) -> None:
        self._words = WordStream(history.seed, "generate", instrument.symbol, "sizes")
        usual = exp(history.table.of(instrument.symbol).volume.level) * SIZE_SHARE
        self._usual_lots = max(1.0, usual / float(instrument.lot_size))

    def of(self, first: int, steps: int) -> tuple[Int64Array, Int64Array]:
        """Return the lots at bid and ask of the steps from `first` on."""
        noise = np.clip(exp_each(normals(self._words.words(2 * first, 2 * steps))) * self._usual_lots, 1.0, 1e15)
        lots = np.rint(noise).astype(np.int64).reshape(steps, 2)
        return lots[:, 0], lots[:, 1]


class _Sides:
    """Who traded: the buyer where the price rose, the seller where it fell, else who did before."""

    def __init__(self) -> None:
        self._last_half_ticks: int | None = None
        self._buys = 1

    def of(self, mid_half_ticks: Int64Array) -> Int64Array:
        """Return 1 where a buyer took, -1 where a seller did. Shapes: (n,) to (n,)."""
        before = mid_half_ticks[0] if self._last_half_ticks is None else self._last_half_ticks
        moved = np.sign(np.diff(mid_half_ticks, prepend=before))
        moved = np.concatenate(([self._buys], moved))
        last = np.maximum.accumulate(np.where(moved != 0, np.arange(len(moved)), 0))
        buys: Int64Array = moved[last][1:]
        self._last_half_ticks, self._buys = int(mid_half_ticks[-1]), int(buys[-1])
        return buys


def _processes(history: History) -> int:
    """Return how many processes the work is worth."""
    if len(history.instruments) * history.steps < QUIET_STEPS:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_in_processes(
    parts: Sequence[History], folder: Path, written: list[Written], progress: Progress | None
) -> None:
    """Write each part in a process of its own."""
    # Not forked: a child must not inherit half of what the threads of this process are at.
    context = get_context("spawn")
    workers: dict[Connection, BaseProcess] = {}
    done: dict[Connection, int] = {}
    try:
        for part in parts:
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs, part, folder), daemon=True)
            process.start()
            # The only other end is the worker's, so that either side hears when the other has gone.
            theirs.close()
            workers[ours], done[ours] = process, 0
        while workers:
            ready = wait(list(workers))
            for connection in [each for each in workers if each in ready]:
                said = _heard(connection)
                if isinstance(said, int):
                    done[connection] = said
                    if progress is not None:
                        progress(sum(done.values()))
                else:
                    written += said
                    workers.pop(connection).join()
                    connection.close()
    finally:
        for connection in workers:
            connection.close()
        for process in workers.values():
            process.join()


def _heard(connection: Connection) -> int | list[Written]:
    """Return how many steps a worker has done, or at its end its files.

    Raises: the failure that the worker met
    """
    try:
        said: int | list[Written] | FauxchangeError = connection.recv()
    except (EOFError, ConnectionError):
        raise Unavailable(
            "a process that wrote history was ended from outside; was there too little memory?",
            code="history_not_written",
            retryable=False,
        ) from None
    if isinstance(said, FauxchangeError):
        raise said
    return said


def _work(connection: Connection, history: History, folder: Path) -> None:
    """Write a part; that whoever asked for it has gone is heard of by the broken pipe, and ends it."""
    written: list[Written] = []
    with connection, suppress(KeyboardInterrupt, ConnectionError):
        try:
            write_part(history, folder, written, connection.send)
        except FauxchangeError as exc:
            connection.send(exc)
        else:
            connection.send(written)
