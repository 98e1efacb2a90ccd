"""`exchange verify` and `exchange rebuild` on the stores of an exchange that has traded and stopped."""

import asyncio
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from exchange_kit import Exchange
from rich.console import Console
from typer.testing import Result

from fauxchange.cli import stores
from fauxchange.cli.stores import CommandsProgress
from fauxchange.data.ports import OrderQuery
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper

Run = Callable[..., Result]


async def _traded(folder: Path) -> int:
    data = SqliteDataAdapter(folder / "fauxchange.sqlite")
    await data.connect()
    exchange = await Exchange(data).start()
    account = await exchange.account(USD="1000000")
    for _ in range(5):
        await exchange.place(account, "buy", "0.01", "50000")
    await SnapshotKeeper(exchange.venue, exchange.projector, data.kernel_snapshots, every=1).make()
    await exchange.place(account, "buy", "0.01", "50000")
    await exchange.stop()
    await data.disconnect()
    return exchange.venue.sequence


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    asyncio.run(_traded(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")


def test_whole_stores_are_verified(run: Run, folder: Path) -> None:
    told = run("exchange", "verify", "--data-dir", str(folder))
    document = json.loads(run("exchange", "verify", "--data-dir", str(folder), "--json").stdout)

    assert told.exit_code == 0
    assert "none missing, none changed" in told.stdout
    assert document["snapshots"] == 1
    assert document["commands"] == document["records"]


def _change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("file", "statement", "named"),
    [
        ("fauxchange-journal.sqlite", "DELETE FROM journal WHERE first_sequence = 10", "10"),
        ("fauxchange-journal.sqlite", "UPDATE journal SET payload = x'00' WHERE first_sequence = 10", "10"),
        ("fauxchange.sqlite", "UPDATE exchange_trail SET hash = prev_hash", "records 1 to"),
        ("fauxchange.sqlite", "DELETE FROM exchange_trail", "audit trail ends with record 0"),
    ],
)
def test_what_was_changed_or_lost_is_named(run: Run, folder: Path, file: str, statement: str, named: str) -> None:
    _change(folder / file, statement)

    result = run("exchange", "verify", "--data-dir", str(folder))

    assert result.exit_code == 1
    assert named in result.stderr


def test_read_models_are_made_anew_from_the_journal(run: Run, folder: Path) -> None:
    _change(folder / "fauxchange.sqlite", "DELETE FROM exchange_orders")

    done = run("exchange", "rebuild", "--data-dir", str(folder))

    async def orders() -> int:
        data = SqliteDataAdapter(folder / "fauxchange.sqlite")
        await data.connect()
        found = len((await data.exchange.orders(OrderQuery())).items)
        await data.disconnect()
        return found

    assert done.exit_code == 0
    assert "Rebuilt from" in done.stdout
    assert asyncio.run(orders()) == 6
    assert run("exchange", "verify", "--data-dir", str(folder)).exit_code == 0


def test_a_journal_that_cannot_be_read_costs_no_read_models(run: Run, folder: Path) -> None:
    _change(folder / "fauxchange-journal.sqlite", "DELETE FROM journal WHERE first_sequence = 10")

    result = run("exchange", "rebuild", "--data-dir", str(folder))

    async def position() -> int:
        data = SqliteDataAdapter(folder / "fauxchange.sqlite")
        await data.connect()
        sequence, _ = await data.exchange.position()
        await data.disconnect()
        return sequence

    assert result.exit_code == 1
    assert asyncio.run(position()) > 0


def test_a_folder_without_an_exchange_is_named(run: Run, tmp_path: Path) -> None:
    result = run("exchange", "verify", "--data-dir", str(tmp_path / "nothing"))

    assert result.exit_code == 2
    assert "there is no exchange in data folder" in result.stderr


def test_a_long_recovery_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(stores, "messages", lambda: console)
    moments = iter([0.0, 1.0, 2.0]).__next__

    with CommandsProgress(shown=True, now_s=moments) as progress:
        progress("replaying the journal", 10, 1_000)
        progress("replaying the journal", 500, 1_000)
        progress("replaying the journal", 1_000, 1_000)

    assert "Replaying the journal" in screen.getvalue()
    assert "1000/1000" in screen.getvalue()
    assert "commands" in screen.getvalue()
