"""Each write to the exchange's files fails in turn: what is acknowledged stays, what is refused can be found out."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from exchange_kit import ORIGIN, Exchange, order

from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.sqlite.files import open_connection
from fauxchange.domain.errors import NotFound, Unavailable
from fauxchange.services.exchange.app.offline import verify_stores
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper

ROUNDS = 12


class Failing:
    """A connection whose statements fail when their number has come, before or after they took effect."""

    def __init__(self, inner: sqlite3.Connection, plan: "Plan") -> None:
        self._inner = inner
        self._plan = plan

    def execute(self, sql: str, *parameters: Any) -> Any:
        if not self._plan.armed:
            return self._inner.execute(sql, *parameters)
        self._plan.seen += 1
        due = self._plan.at <= self._plan.seen < self._plan.at + self._plan.times
        if due and not self._plan.late:
            raise sqlite3.OperationalError("database or disk is full")
        done = self._inner.execute(sql, *parameters)
        if due:
            raise sqlite3.OperationalError("disk I/O error")
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Plan:
    """Which statements of which file fail."""

    def __init__(self, file: str, at: int, times: int, *, late: bool) -> None:
        self.file = file
        self.at = at
        self.times = times
        self.late = late
        self.armed = False
        self.seen = 0

    def open(self, path: Path) -> Any:
        connection = open_connection(path)
        return Failing(connection, self) if path.name == self.file else connection


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 13))
@pytest.mark.parametrize("times", [1, 3])
async def test_a_journal_that_fails_refuses_and_loses_nothing(
    tmp_path: Path, at: int, times: int, *, late: bool
) -> None:
    plan = Plan("fauxchange-journal.sqlite", at, times, late=late)
    acknowledged, refused = await _trade(tmp_path, plan)

    assert plan.seen >= at
    assert acknowledged
    await _examine(tmp_path, acknowledged, refused)


@pytest.mark.parametrize("file", ["fauxchange.sqlite", "fauxchange-snapshots.sqlite"])
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13])
async def test_orders_go_on_while_read_models_or_snapshots_cannot_be_written(
    tmp_path: Path, file: str, at: int
) -> None:
    plan = Plan(file, at, times=3, late=False)

    acknowledged, refused = await _trade(tmp_path, plan)

    assert len(acknowledged) == ROUNDS
    assert not refused
    await _examine(tmp_path, acknowledged, refused)


async def _trade(folder: Path, plan: Plan) -> tuple[dict[str, int], set[str]]:
    """Place orders one by one while statements fail; return those acknowledged, with their ids, and the others."""
    data = SqliteDataAdapter(folder / "fauxchange.sqlite", opener=plan.open, probe_interval_s=0.01)
    await data.connect()
    exchange = await Exchange(data).start()
    account = await exchange.account(USD="1000000")
    await exchange.projector.flush()
    snapshots = SnapshotKeeper(exchange.venue, exchange.projector, data.kernel_snapshots, every=1)
    plan.armed = True
    acknowledged: dict[str, int] = {}
    refused: set[str] = set()
    codes: set[str] = set()
    for number in range(ROUNDS):
        name = f"order-{number}"
        try:
            placed = await exchange.service.place_order(
                account, order("buy", "0.001", "50000", client_order_id=name), ORIGIN
            )
            acknowledged[name] = placed.order.order_id
        except Unavailable as exc:
            codes.add(exc.code)
            refused.add(name)
            while exchange.tasks:
                await asyncio.wait(exchange.tasks)
        if number % 4 == 3:
            for work in (exchange.projector.flush, snapshots.make):
                try:
                    await work()
                except Unavailable:
                    continue
    plan.armed = False
    assert codes <= {"journal_unavailable", "outcome_unknown"}
    assert all(free + held == 0 for free, held in exchange.sums().values())
    await exchange.stop()
    await data.disconnect()
    return acknowledged, refused


async def _examine(folder: Path, acknowledged: dict[str, int], refused: set[str]) -> None:
    data = SqliteDataAdapter(folder / "fauxchange.sqlite")
    await data.connect()
    exchange = await Exchange(data).start()
    account = max(exchange.venue.registry.accounts)
    for name, order_id in acknowledged.items():
        assert (await exchange.service.order(account, f"client:{name}")).order.order_id == order_id
    for name in refused:
        try:
            found = await exchange.service.order(account, f"client:{name}")
        except NotFound:
            continue
        assert found.order.order_id not in acknowledged.values()
    live = exchange.hash()
    await exchange.stop()
    assert (await verify_stores(data, compiler=interpreted)).state_hash == live
    await data.disconnect()
