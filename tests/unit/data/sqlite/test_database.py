"""Opening files that are ours, and refusing those that are not."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import PriceFeedQuery, Projection
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.tables import SCHEMA_VERSION
from fauxchange.domain.errors import ConfigurationError, Unavailable
from fauxchange.domain.market_data import FeedSource, PriceFeed
from fauxchange.platform.ports import DependencyStatus

SAVING = """
import asyncio, sys
from itertools import count
from pathlib import Path

from fauxchange.data.sqlite.adapter import SqliteDataAdapter


async def main():
    adapter = SqliteDataAdapter(Path(sys.argv[1]))
    await adapter.connect()
    for n in count():
        await adapter.state.save("it", {"n": n})
        sys.stdout.write(f"{n}\\n")
        sys.stdout.flush()


asyncio.run(main())
"""


def feeds(first: int, count: int) -> list[PriceFeed]:
    return [
        PriceFeed(
            symbol="BTC/USD",
            epoch=1,
            sequence=sequence,
            ts_ns=sequence,
            bid=Decimal("60000.10"),
            ask=Decimal("60000.20"),
            last=None,
            volume=Decimal("0.5"),
            source=FeedSource.SIMULATOR,
        )
        for sequence in range(first, first + count)
    ]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def schema(path: Path) -> tuple[list[str], int]:
    """Return the definitions of all tables and indexes, and the version."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        return [sql for (sql,) in rows], connection.execute("SELECT version FROM schema_version").fetchone()[0]


def saved_before_the_kill(path: Path) -> int:
    """Return the last number that a killed process said it had saved."""
    with subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(20)]
        process.kill()
        said += process.stdout.readlines()
    return int(said[-1])


async def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await SqliteDataAdapter(path).connect()
    return refused.value.message


async def test_new_file_and_its_folder_are_made_and_are_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "deep" / "it.db"

    adapter = SqliteDataAdapter(path)
    await adapter.connect()
    await adapter.disconnect()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_path_with_characters_of_addresses_names_the_files(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1?.db"

    adapter = await open_data_adapter(path)
    await adapter.state.save("it", {"n": 1})
    await adapter.disconnect()

    assert sorted(names(tmp_path)) == [
        "50% of #1?-journal.sqlite",
        "50% of #1?-snapshots.sqlite",
        path.name,
    ]


async def test_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    await (await open_data_adapter(path)).disconnect()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = ?", (SCHEMA_VERSION + 1,))

    message = await refusal(path)

    assert str(path) in message
    assert "newer version" in message
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION + 1,)]


async def test_file_of_version_1_gets_the_tables_of_the_exchange_and_keeps_its_own(tmp_path: Path) -> None:
    path, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    await (await open_data_adapter(fresh)).disconnect()
    adapter = await open_data_adapter(path)
    await adapter.price_feeds.create_many(feeds(1, 10))
    await adapter.disconnect()
    with closing(sqlite3.connect(path)) as connection, connection:
        names = (
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND (name LIKE 'exchange%' OR name LIKE 'configuration%')"
        )
        for (table,) in connection.execute(names).fetchall():
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE schema_version SET version = 1")

    for _ in range(2):
        adapter = await open_data_adapter(path)
        await adapter.exchange.store(Projection(sequence=5, document={"n": 1}))
        page = await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))
        await adapter.disconnect()

        assert len(page.items) == 10
    assert schema(path) == schema(fresh)


async def test_step_to_a_newer_version_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    await (await open_data_adapter(path)).disconnect()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE exchange_accounts")
        connection.execute("UPDATE schema_version SET version = 1")
    before = schema(path)

    message = await refusal(path)

    assert "exchange_fills already exists" in message
    assert schema(path) == before


async def test_file_without_a_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    await (await open_data_adapter(path)).disconnect()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM schema_version")

    assert "no known schema version" in await refusal(path)


async def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")

    message = await refusal(path)

    assert str(path) in message
    assert "another program" in message
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


@pytest.mark.parametrize("content", [b"no database, just text\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5_000])
async def test_damaged_file_is_refused_with_its_name_and_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it.db"
    path.write_bytes(content)

    message = await refusal(path)

    assert str(path) in message
    assert "move it away" in message
    assert path.read_bytes() == content


async def test_folder_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    assert str(tmp_path / "file") in await refusal(tmp_path / "file" / "it.db")


async def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert str(tmp_path) in await refusal(tmp_path)


async def test_adapter_that_is_not_connected_is_down_and_unavailable(tmp_path: Path) -> None:
    adapter = SqliteDataAdapter(tmp_path / "it.db")

    assert adapter.health()["sqlite"].status is DependencyStatus.DOWN
    with pytest.raises(Unavailable):
        await adapter.state.load("it")
    with pytest.raises(Unavailable):
        await adapter.state.save("it", {})


async def test_saved_state_is_there_after_the_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    last = saved_before_the_kill(path)

    adapter = await open_data_adapter(path)
    document = await adapter.state.load("it")
    await adapter.disconnect()

    assert document is not None
    # The process may have been killed between the saving and the saying.
    assert document["n"] - last in {0, 1}


async def test_deleted_rows_make_room_for_new_ones_and_the_file_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    sizes: list[int] = []

    for day in range(4):
        adapter = await open_data_adapter(path)
        await adapter.price_feeds.create_many(feeds(day * 5_000, 5_000))
        await adapter.price_feeds.delete_before(day * 5_000)
        await adapter.disconnect()
        sizes.append(path.stat().st_size)

    assert sizes[3] <= sizes[1] * 1.05


async def test_prices_are_text_that_a_person_can_read_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    adapter = await open_data_adapter(path)
    await adapter.price_feeds.create_many(feeds(1, 1))
    await adapter.disconnect()

    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT symbol, bid, last, source, metadata FROM price_feeds").fetchone()

    assert row == ("BTC/USD", "60000.10", None, "simulator", "{}")


async def test_two_adapters_may_read_and_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    first, second = await open_data_adapter(path), await open_data_adapter(path)

    await first.price_feeds.create_many(feeds(1, 10))
    await second.price_feeds.create_many(feeds(11, 10))

    page = await first.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))
    assert len(page.items) == 20
    await first.disconnect()
    await second.disconnect()
