"""A fixed path of prices, written down row by row: for tests, and for demonstrations that must not surprise."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.instruments import Grid, Instrument
from fauxchange.domain.market_data import FeedSource, Metadata
from fauxchange.domain.times import parse_duration
from fauxchange.services.market_data.clients.stepping import MAX_COUNT, Rows, next_steps
from fauxchange.services.market_data.core.batches import NO_LAST, SPREAD_BY_POLICY, PriceBatch

Price = Decimal | str


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRow:
    """One price, some time after the source is opened: bid and ask, or the mid alone.

    Units: offset_ns in nanoseconds after the opening; prices in quote currency, volume in base asset
    """

    offset_ns: int
    symbol: str
    bid: Price | None = None
    ask: Price | None = None
    mid: Price | None = None
    last: Price | None = None
    volume: Price = "0"


class FixedSource:
    """Hand on the given rows, once.

    Raises: ConfigurationError if a row's symbol has no instrument, a price is off its grid, a quote is crossed,
            neither a mid nor both bid and ask are given, or time goes back
    """

    def __init__(self, instruments: Sequence[Instrument], rows: Iterable[FixedRow]) -> None:
        self._instruments = tuple(instruments)
        given = tuple(rows)
        self._fingerprint = hashlib.sha256(repr((self._instruments, given)).encode()).hexdigest()
        self._rows = _columns(self._instruments, given)
        self._total = len(given)
        self._row = 0
        self._start_ns = 0
        self._restored = False

    @classmethod
    def from_table(cls, text: str, instruments: Sequence[Instrument]) -> "FixedSource":
        """Make a source from a table of words, `-` where a cell is empty.

            offset  symbol   bid     ask     last    volume
            0s      BTC/USD  100.00  100.02  -       -
            1s      BTC/USD  100.01  100.03  100.03  0.5

        Columns are offset, symbol, then any of bid, ask, mid, last and volume. Raises: ConfigurationError
        """
        return cls(instruments, parse_fixed_rows(text))

    @property
    def kind(self) -> FeedSource:
        """Fixed prices."""
        return FeedSource.FIXED

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The instruments given."""
        return self._instruments

    async def open(self, start_ns: int) -> None:
        """Let offsets count from `start_ns`; a restored source goes on counting from where it did."""
        if not self._restored:
            self._start_ns = start_ns

    async def next(self, max_steps: int) -> PriceBatch | None:
        """Return the rows of the next steps; None after the last row."""
        if self._row >= self._total:
            return None
        rows, count = next_steps(self._slice, self._row, self._total, max_steps)
        self._row += count
        return rows.batch(count, self._start_ns)

    async def close(self) -> None:
        """Do nothing: nothing was taken."""

    def state(self) -> Metadata | None:
        """Return the next row and the moment from which offsets count."""
        return {"fingerprint": self._fingerprint, "row": self._row, "start_ns": self._start_ns}

    def restore(self, state: Metadata) -> bool:
        """Go on from a state of the same rows."""
        row, start_ns = state.get("row"), state.get("start_ns")
        if not (isinstance(row, int) and isinstance(start_ns, int)):
            return False
        if state.get("fingerprint") != self._fingerprint or not 0 <= row <= self._total:
            return False
        self._row, self._start_ns, self._restored = row, start_ns, True
        return True

    def report(self) -> Metadata:
        """Return how many rows there are, and how many were given."""
        return {"kind": "fixed", "rows": self._total, "given": self._row}

    def _slice(self, start: int, stop: int) -> Rows:
        rows = self._rows
        return Rows(
            rows.ts_ns[start:stop],
            rows.symbol_index[start:stop],
            rows.mid_half_ticks[start:stop],
            rows.spread_ticks[start:stop],
            rows.last_ticks[start:stop],
            rows.volume_lots[start:stop],
        )


def parse_fixed_rows(text: str) -> list[FixedRow]:
    """Return the rows of a table of words, as `FixedSource.from_table` describes it.

    Raises: ConfigurationError naming the line
    """
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ConfigurationError("a fixed path needs a line that names its columns, such as: offset symbol bid ask")
    (header_line, header), *body = lines
    unknown = sorted(set(header) - {"offset", "symbol", "bid", "ask", "mid", "last", "volume"})
    if unknown or not {"offset", "symbol"} <= set(header) or len(set(header)) != len(header):
        raise ConfigurationError(
            f"line {header_line}: a fixed path has the columns offset, symbol, and any of bid, ask, mid, last and "
            f"volume, each once; found {' '.join(header)}"
        )
    rows = []
    for number, cells in body:
        if len(cells) != len(header):
            raise ConfigurationError(f"line {number}: expected {len(header)} cells ('-' for an empty one)")
        named = {name: cell for name, cell in zip(header, cells, strict=True) if cell != "-"}
        try:
            offset_ns = parse_duration(named.pop("offset", "-"))
        except InvalidRequest as exc:
            raise ConfigurationError(f"line {number}: {exc.message}") from exc
        rows.append(FixedRow(offset_ns=offset_ns, symbol=named.pop("symbol", "-"), **named))
    return rows


def _columns(instruments: Sequence[Instrument], rows: Sequence[FixedRow]) -> Rows:
    indices = {instrument.symbol: index for index, instrument in enumerate(instruments)}
    table = np.zeros((len(rows), 6), dtype=np.int64)
    before_ns = 0
    for number, row in enumerate(rows, 1):
        if row.symbol not in indices:
            raise ConfigurationError(f"row {number}: {row.symbol} is none of the symbols {', '.join(indices)}")
        if row.offset_ns < before_ns:
            raise ConfigurationError(f"row {number}: time goes back; rows must be in the order of their offsets")
        before_ns = row.offset_ns
        index = indices[row.symbol]
        try:
            table[number - 1] = (row.offset_ns, index, *_prices(instruments[index], row))
        except InvalidRequest as exc:
            raise ConfigurationError(f"row {number}: {exc.message}") from exc
    return Rows(*table.T)


def _prices(instrument: Instrument, row: FixedRow) -> tuple[int, int, int, int]:
    """Return mid in half ticks, spread, last and volume. Raises: InvalidRequest."""
    grid = instrument.prices
    last = NO_LAST if row.last is None else grid.count(row.last, name="last")
    lots = instrument.quantities.count(row.volume, name="volume")
    if row.mid is not None and row.bid is None and row.ask is None:
        halves = Grid(step=instrument.tick_size / 2)
        mid_half, spread = halves.count(row.mid, name="mid"), SPREAD_BY_POLICY
    elif row.mid is None and row.bid is not None and row.ask is not None:
        bid, ask = grid.count(row.bid, name="bid"), grid.count(row.ask, name="ask")
        if not 0 < bid <= ask:
            raise InvalidRequest(f"bid {row.bid} and ask {row.ask} are crossed or not positive")
        mid_half, spread = bid + ask, ask - bid
    else:
        raise InvalidRequest("give a mid, or both a bid and an ask")
    if mid_half <= 0 or last < NO_LAST or last == 0 or lots < 0:
        raise InvalidRequest("prices are positive, and volumes not negative")
    if max(mid_half // 2, last, lots) > MAX_COUNT:
        raise InvalidRequest("a price or volume is too large")
    return mid_half, spread, last, lots
