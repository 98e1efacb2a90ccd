"""How quickly the data adapter stores prices and candles in bulk, beside what the bare drivers manage.

Each store gets the same rows in batches as the feed's history writes them. The baseline is the quickest way that the
driver has of putting the same rows into a table with the same keys: COPY for PostgreSQL, `executemany` in a transaction
for SQLite. For Redis, which keeps the newest prices in front of a store, it is a pipeline of one ZADD for each price,
over a bare socket; the adapter's time there holds the store behind it (memory) as well. Both write in turns, so that
whatever else the machine does weighs on both. Rows are made beforehand.

A price is new each time. Candles are written twice: as new ones, which is what the baseline does too, and then once
more, each replacing the first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from fauxchange.bench.children import run_child, tell
from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.processes import own_child, scratch
from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.sqlite.database import open_connection
from fauxchange.data.tables import candles, price_feeds
from fauxchange.domain.errors import check
from fauxchange.domain.market_data import CandleRecord, FeedSource, PriceFeed
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.logging import configure_logging

START_NS = 1_767_225_600 * NS_PER_S
SYMBOLS = ("BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD")
BARE_SCHEMA = "bare"
PATIENCE_S = 600.0
SERVERS = ("postgres", "redis")
"""Options that name a server; where they are not given, the command line starts one for the time it takes."""

TARGETS = {
    "postgresql.prices": "ratio >= 0.5",
    "postgresql.candles": "ratio >= 0.5",
    "sqlite.prices": "ratio >= 0.5",
    "sqlite.candles": "ratio >= 0.5",
    "redis.prices": "ratio >= 0.5",
}

Write = Callable[[Sequence[Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Writers:
    """The ways into one store: the adapter's, and the bare driver's."""

    prices: Write
    bare_prices: Write
    candles: Write | None = None
    bare_candles: Write | None = None


def run(
    report: Report, *, rows: int = 50_000, batch: int = 5_000, postgres: str = "", redis: str = ""
) -> dict[str, object]:
    """Store `rows` prices and as many candles, `batch` at a time; `postgres` and `redis` are URLs of empty servers."""
    figures: dict[str, dict[str, Figure]] = {}
    for store, url in (("sqlite", ""), ("postgresql", postgres), ("redis", redis)):
        if store != "sqlite" and not url:
            report(f"no {store} is named, so it is left out")
            continue
        report(f"{rows} prices and candles into {store}, and the same rows alone")
        with own_child("adapter", {"store": store, "rows": rows, "batch": batch, "url": url}) as process:
            rates = process.hear(PATIENCE_S)
        figures[store] = {
            name: figure(rates[name], "rows/s", rates.get(f"bare_{name}"), decimals=0)
            for name in ("prices", "candles", "candles_replaced")
            if name in rates
        }
    return {"benchmark": "adapter", "rows": rows, "batch": batch, "figures": figures}


def prices(count: int, first: int = 1) -> list[PriceFeed]:
    """Return prices as the feed makes them, of all symbols in turn."""
    return [
        PriceFeed(
            symbol=SYMBOLS[number % len(SYMBOLS)],
            epoch=1,
            sequence=number,
            ts_ns=START_NS + number // len(SYMBOLS) * NS_PER_S,
            bid=Decimal(6_000_000 + number % 1_000) / 100,
            ask=Decimal(6_000_600 + number % 1_000) / 100,
            last=Decimal(6_000_300 + number % 1_000) / 100,
            volume=Decimal(number % 100) / 100_000,
            source=FeedSource.SIMULATOR,
        )
        for number in range(first, first + count)
    ]


def minutes(count: int, first: int = 1) -> list[CandleRecord]:
    """Return candles of all symbols in turn."""
    return [
        CandleRecord(
            symbol=SYMBOLS[number % len(SYMBOLS)],
            interval_ns=60 * NS_PER_S,
            open_ns=START_NS + number * 60 * NS_PER_S,
            open=Decimal(6_000_000 + number % 1_000) / 100,
            high=Decimal(6_000_900 + number % 1_000) / 100,
            low=Decimal(5_999_900 + number % 1_000) / 100,
            close=Decimal(6_000_300 + number % 1_000) / 100,
            volume=Decimal(number % 100) / 100_000,
            closed=True,
        )
        for number in range(first, first + count)
    ]


async def measure(writers: Writers, rows: int, batch: int) -> dict[str, float]:
    """Return the rows per second of each way in: the median over the batches."""
    taken: dict[str, list[float]] = {}

    async def timed(name: str, write: Write, records: Sequence[Any]) -> None:
        begun = time.perf_counter()
        await write(records)
        taken.setdefault(name, []).append((time.perf_counter() - begun) / len(records))

    for first in range(1, rows + 1, batch):
        count = min(batch, rows + 1 - first)
        feeds, records = prices(count, first), minutes(count, first)
        feed_rows, candle_rows = [_row(feed) for feed in feeds], [_row(record) for record in records]
        await timed("bare_prices", writers.bare_prices, feed_rows)
        await timed("prices", writers.prices, feeds)
        if writers.candles is not None and writers.bare_candles is not None:
            await timed("bare_candles", writers.bare_candles, candle_rows)
            await timed("candles", writers.candles, records)
    # Afterwards, because a store may learn from the first that others follow.
    for first in range(1, rows + 1, batch):
        if writers.candles is not None:
            replacing = [replace(record, close=record.high) for record in minutes(min(batch, rows + 1 - first), first)]
            await timed("candles_replaced", writers.candles, replacing)
    return {name: 1 / median(seconds) for name, seconds in taken.items()}


async def into_postgres(url: str, rows: int, batch: int) -> dict[str, float]:
    """Measure PostgreSQL, in a database that nobody else uses meanwhile."""
    from fauxchange.data.postgres.connections import PostgresConfig, connect  # noqa: PLC0415 - a driver that is heavy

    config = PostgresConfig(url=url, deadline_s=60.0)
    adapter = await open_data_adapter(None, postgres=config)
    bare = await connect(config, purpose="bench")
    try:
        check(adapter.health()["postgresql"].detail != "", "the server is there")
        await bare.execute(f"DROP SCHEMA IF EXISTS {BARE_SCHEMA} CASCADE; CREATE SCHEMA {BARE_SCHEMA}".encode())
        for table in (price_feeds, candles):
            await bare.execute(f"TRUNCATE {table.fullname}".encode())
            like = f"CREATE TABLE {BARE_SCHEMA}.{table.name} (LIKE {table.fullname} INCLUDING ALL)"
            await bare.execute(like.encode())

        def copying(table: str, columns: Iterable[str]) -> Write:
            statement = f"COPY {BARE_SCHEMA}.{table} ({', '.join(columns)}) FROM STDIN".encode()

            async def copy(records: Sequence[Any]) -> None:
                async with bare.cursor().copy(statement) as copying_rows:
                    for row in records:
                        await copying_rows.write_row(row)

            return copy

        writers = Writers(
            adapter.price_feeds.create_many,
            copying("price_feeds", _fields(PriceFeed)),
            adapter.candles.upsert_many,
            copying("candles", _fields(CandleRecord)),
        )
        return await measure(writers, rows, batch)
    finally:
        await bare.execute(f"DROP SCHEMA IF EXISTS {BARE_SCHEMA} CASCADE".encode())
        await bare.close()
        await adapter.disconnect()


async def into_sqlite(folder: Path, rows: int, batch: int) -> dict[str, float]:
    """Measure SQLite, on the disk of this machine."""
    await _made(folder / "bare.sqlite")
    adapter = await open_data_adapter(folder / "adapter.sqlite")
    with closing(open_connection(folder / "bare.sqlite")) as bare:
        bare.execute("PRAGMA synchronous=NORMAL")

        def inserting(table: str, columns: Sequence[str]) -> Write:
            marks = ",".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"

            async def insert(records: Sequence[Any]) -> None:
                bare.execute("BEGIN")
                # Its driver knows no decimals.
                bare.executemany(statement, [[str(p) if isinstance(p, Decimal) else p for p in row] for row in records])
                bare.execute("COMMIT")

            return insert

        writers = Writers(
            adapter.price_feeds.create_many,
            inserting("price_feeds", _fields(PriceFeed)),
            adapter.candles.upsert_many,
            inserting("candles", _fields(CandleRecord)),
        )
        try:
            return await measure(writers, rows, batch)
        finally:
            await adapter.disconnect()


async def into_redis(url: str, rows: int, batch: int) -> dict[str, float]:
    """Measure Redis, on a server that nobody else uses meanwhile."""
    from fauxchange.data.redis.server import RedisConfig  # noqa: PLC0415 - as above

    adapter = await open_data_adapter(None, redis=RedisConfig(url=url, deadline_s=60.0))
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 6379)
    try:
        if parts.password:
            writer.write(_command(b"AUTH", (parts.username or "default").encode(), unquote(parts.password).encode()))
            check((await reader.readline()).startswith(b"+OK"), "the server takes the URL's password")

        async def pipeline(records: Sequence[Any]) -> None:
            encoded = (msgspec.json.encode(row, enc_hook=str) for row in records)
            writer.write(b"".join(_command(b"ZADD", b"bare", b"0", member) for member in encoded))
            for _ in records:
                check((await reader.readline())[:1] == b":", "the server adds a price")

        return await measure(Writers(adapter.price_feeds.create_many, pipeline), rows, batch)
    finally:
        writer.close()
        await adapter.disconnect()


def _command(*parts: bytes) -> bytes:
    """Return a command as the protocol has it. Source: the Redis serialization protocol, version 2."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


async def _made(path: Path) -> None:
    adapter: DataAdapter = SqliteDataAdapter(path)
    await adapter.connect()
    await adapter.disconnect()


def _fields(kind: type[Any]) -> Sequence[str]:
    return list(kind.__dataclass_fields__)


def _row(record: PriceFeed | CandleRecord) -> tuple[Any, ...]:
    """Return a record as a driver takes it."""
    *columns, document = astuple(record)
    check(document == {}, "the documents are empty")
    return (*(str(part) if isinstance(part, FeedSource) else part for part in columns), "{}")


async def main(options: dict[str, Any]) -> None:
    """Measure, and tell the parent."""
    configure_logging(level="warning", service="bench", version="0")
    rows, batch, url = options["rows"], options["batch"], options["url"]
    if options["store"] == "postgresql":
        tell(await into_postgres(url, rows, batch))
    elif options["store"] == "redis":
        tell(await into_redis(url, rows, batch))
    else:
        with scratch() as folder:
            tell(await into_sqlite(folder, rows, batch))


if __name__ == "__main__":
    run_child(main)
