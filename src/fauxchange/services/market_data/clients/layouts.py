"""Recognise what a recorded table holds by the names of its columns, and whose prices they are by its file's name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.instruments import parse_symbol
from fauxchange.services.market_data.clients.tables import Table, refuse


class RecordingKind(StrEnum):
    """What one row of a recording says."""

    BARS = "bars"
    TRADES = "trades"
    QUOTES = "quotes"
    BOOK = "book"


_TIME = (
    "recv_ns recv_time receive_time local_timestamp time timestamp ts ts_ns ts_us ts_ms ts_s datetime date "
    "time_ns time_us time_ms timestamp_ns timestamp_us timestamp_ms open_time open_ns open_ms time_open start_time "
    "transact_time trade_time event_time exch_ns exch_us exch_ms exchange_time exchange_timestamp unix unix_time epoch"
)
"""Names of the column of times, the one preferred first: a receiver's clock is what a replay should repeat."""

_BID = "bid bid_price best_bid best_bid_price bid_px"
_ASK = "ask ask_price best_ask best_ask_price ask_px offer offer_price"
_PRICE = "price px trade_price last_price last rate p"
_QUANTITY = "qty quantity size amount volume vol trade_qty trade_size last_qty last_size base_qty base_volume q"
_VOLUME = "volume vol base_volume volume_base qty quantity amount v"
_BAR_PARTS = tuple(f"{part} {part}_price {part[0]}" for part in ("open", "high", "low", "close"))

_QUOTE_CURRENCIES = "USD USDT USDC BUSD FDUSD TUSD DAI EUR GBP JPY CHF AUD CAD TRY BRL KRW BTC XBT ETH BNB"
_QUOTING_COINS = "BTC XBT ETH BNB"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column plays which part: prices and quantities in the order in which the rows keep them.

    A quote's quantities are not kept, but checked like all, and they tell the lot size.
    """

    kind: RecordingKind
    time: str
    prices: tuple[str, ...]
    quantities: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (self.time, *self.prices, *self.quantities)


def recognise(path: Path, table: Table) -> Layout:
    """Return the layout of a table by its header.

    Raises: ConfigurationError saying which column is missing and how it may be called
    """
    parts = _Parts(path, {_plain(name): name for name in reversed(table.header)})
    if sum(parts.find(part) is not None for part in _BAR_PARTS) > 1:
        prices = tuple(map(parts.need, _BAR_PARTS))
        return Layout(RecordingKind.BARS, parts.need(_TIME, "time"), prices, parts.known(_VOLUME))
    if parts.find(_BID) is not None or parts.find(_ASK) is not None:
        prices = (parts.need(_BID), parts.need(_ASK))
        sizes = parts.known(_size_names("bid"), _size_names("ask"))
        return Layout(RecordingKind.QUOTES, parts.need(_TIME, "time"), prices, sizes)
    if parts.find(_PRICE) is None:
        refuse(
            path,
            f"names the columns {', '.join(table.header)[:300]}; expected a time with open, high, low and close "
            "(bars), with price and qty (trades), or with bid and ask (best bid/offer)",
            place="the header",
        )
    prices = (parts.need(_PRICE),)
    return Layout(RecordingKind.TRADES, parts.need(_TIME, "time"), prices, parts.known(_QUANTITY))


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name begins with: `btc_usdt_spot.csv` or `BTCUSDT-1m.csv` is `BTC/USDT`.

    Raises: ConfigurationError if it begins with none whose quote currency is well known
    """
    quotes = _QUOTE_CURRENCIES.split()
    words = [word.upper() for word in re.split(r"[^A-Za-z0-9]+", path.name.partition(".")[0]) if word]
    # mine_btc_usd.csv holds BTC/USD sooner than MINE/BTC, but that is a guess.
    is_ambiguous = len(words) >= 3 and words[1] in _QUOTING_COINS.split() and words[2] in quotes
    if len(words) >= 2 and words[1] in quotes and len(words[0]) <= 16 and not is_ambiguous:
        return f"{words[0]}/{words[1]}"
    joined = words[0] if words else ""
    for quote in sorted(quotes, key=len, reverse=True):
        base = joined.removesuffix(quote)
        if base != joined and 2 <= len(base) <= 10:
            return f"{base}/{quote}"
    raise ConfigurationError(
        f"cannot tell from the name {path.name!r} whose prices it holds; say so as in BTC/USD={path}",
        code="unknown_recording_symbol",
    )


def parse_replay_argument(text: str) -> tuple[str | None, Path]:
    """Split `[SYMBOL=]FILE`; a text that is the path of a file as it stands names no symbol.

    Raises: ConfigurationError if there is no file name, or what stands before the `=` is no symbol
    """
    before, equals, after = text.partition("=")
    if not equals or Path(text).is_file():
        symbol, file = None, text
    else:
        symbol, file = before, after
    if not file.strip():
        raise ConfigurationError(f"{text!r} names no file; write [SYMBOL=]FILE, as in BTC/USD=prices.csv")
    try:
        return (None if symbol is None else parse_symbol(symbol)), Path(file)
    except InvalidRequest as exc:
        raise ConfigurationError(f"{text!r} is not [SYMBOL=]FILE: {exc.message}", code=exc.code) from exc


class _Parts:
    """Find columns by any of their usual names."""

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self._path = path
        self._names = names

    def find(self, usual: str) -> str | None:
        return next((self._names[name] for name in usual.split() if name in self._names), None)

    def need(self, usual: str, called: str | None = None) -> str:
        found = self.find(usual)
        if found is None:
            missing = called or usual.split(maxsplit=1)[0]
            others = [name for name in usual.split() if name != missing]
            shown = ", ".join([*others[:6], "..."] if len(others) > 6 else others)
            has = ", ".join(self._names.values())[:300]
            refuse(self._path, f"the column is missing (also understood: {shown}); the file has {has}", column=missing)
        return found

    def known(self, *usual: str) -> tuple[str, ...]:
        found = [self.find(names) for names in usual]
        return tuple(name for name in found if name is not None)


def _plain(name: str) -> str:
    """Return a column's name in lower case, with words joined by underscores (`Bid Price`, `bidPrice`)."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _size_names(side: str) -> str:
    return " ".join(f"{side}_{word} best_{side}_{word}" for word in ("qty", "quantity", "size", "amount", "volume"))
