"""How quickly an exchange is back after a million commands, and what a million open orders take in memory.

The journal is made by the kernel and the sequencer's own packing, 30 commands to a batch, with the mix of commands that
`bench kernel` carries out; half of the orders have a client order id, and venue time goes on by 0.1 s a batch. Then,
each in a process of its own:

* `rebuild`: the read models are made anew from the journal, with the audit trail;
* `recovery`: a start without a snapshot: the journal is read and checked, the kernel carries out everything, and open
  orders and client order ids of the last 24 hours are taken up. The baseline is reading the journal alone;
* `with_snapshot`: the same with a snapshot of the end.

Memory is that of a process that keeps the open orders as a running venue does: in the kernel's tables and in the
service's records, each under a client order id. The baseline is the same process before the first order; what the
kernel takes in a process of its own is `bench orders_memory`.
"""

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from fauxchange.bench.children import run_child, tell
from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.kernel import AIMED, FIRST_ACCOUNT, MIDDLE, aim_at_open_orders, mixed_commands
from fauxchange.bench.processes import memory_of, own_child, scratch
from fauxchange.data.ports import Projection
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.errors import check
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.compiler import compile_kernel
from fauxchange.platform.logging import configure_logging
from fauxchange.platform.settings import load_settings
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.app.config import read_config
from fauxchange.services.exchange.app.offline import rebuild_read_models
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.core.layout import COMMAND, H_OPEN_ORDERS, Rows, words
from fauxchange.services.exchange.core.vocabulary import CommandKind, OrderType, Side, TimeInForce
from fauxchange.services.exchange.service.entries import Batch, Entry, Note, pack_batch, row_of, seal
from fauxchange.services.exchange.service.genesis import configuration_entries
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.recovery import Recovered, recover
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper
from fauxchange.services.exchange.service.venue import Venue

COMMANDS: Final = 1_000_000
ACCOUNTS: Final = 1_000
PER_BATCH: Final = 30
BATCH_NS: Final = NS_PER_S // 10
START_NS: Final = 1_767_225_600 * NS_PER_S
FUNDS: Final = 10**15
MOST_WAITING: Final = 2_000
"""Batches that may wait for the disk while the journal is made."""
PATIENCE_S: Final = 1_800.0
MEGABYTE: Final = 1_000_000
ORIGIN: Final = Origin("key:fxk_0123456789abcdef0123456789abcdef", "127.0.0.1", "0" * 32, "1" * 32)
SETTINGS: Final = {"MAX_OPEN_ORDERS": "default=0", "MIN_NOTIONAL": "default=0", "MAX_NOTIONAL": "default=0"}

TARGETS: Final = {"recovery": "at most 10 s"}


def run(report: Report, *, commands: int = COMMANDS, open_orders: int = COMMANDS) -> dict[str, object]:
    """Recover from `commands` commands, and keep `open_orders` orders (0 leaves a part out)."""
    figures: dict[str, Figure] = {}
    if commands:
        with scratch() as folder:
            figures |= _recovery_figures(report, folder, commands)
    if open_orders:
        report(f"{open_orders} open orders in kernel and service")
        told = _part("hold", orders=open_orders)
        figures["resident"] = figure(told["resident_bytes"] / MEGABYTE, "MB", told["before_bytes"] / MEGABYTE)
        figures["kernel_tables"] = figure(told["kernel_bytes"] / MEGABYTE, "MB")
        figures["bytes_per_order"] = figure((told["resident_bytes"] - told["before_bytes"]) / open_orders, "bytes")
    return {"benchmark": "recovery", "commands": commands, "open_orders": open_orders, "figures": figures}


def _recovery_figures(report: Report, folder: Path, commands: int) -> dict[str, Figure]:
    report(f"making a journal of {commands} commands")
    made = _part("make", folder=str(folder), commands=commands)
    size = sum(path.stat().st_size for path in folder.glob("*journal*"))
    report("rebuilding the read models")
    rebuilt = _part("rebuild", folder=str(folder))
    report("recovering without a snapshot, then with one")
    alone = _part("recover", folder=str(folder), snapshot=True)
    quick = _part("recover", folder=str(folder), snapshot=False)
    end = made["sequence"]
    check(alone["state_hash"] == quick["state_hash"] == rebuilt["state_hash"], "all recoveries give the same state")
    check(alone["replayed"] == end and quick["replayed"] == 0, "only the first recovery replays commands")
    return {
        "recovery": figure(alone["elapsed_s"], "s", alone["read_s"], decimals=2),
        "recovery_rate": figure(end / alone["elapsed_s"], "commands/s", end / alone["read_s"], decimals=0),
        "recovery_replay": figure(alone["replay_s"], "s", decimals=2),
        "recovery_with_snapshot": figure(quick["elapsed_s"], "s", decimals=2),
        "rebuild": figure(rebuilt["elapsed_s"], "s", decimals=1),
        "rebuild_rate": figure(end / rebuilt["elapsed_s"], "commands/s", decimals=0),
        "journal": figure(size / MEGABYTE, "MB"),
    }


def _part(part: str, **options: object) -> dict[str, Any]:
    with own_child("recovery", {"part": part, **options}) as process:
        return process.hear(PATIENCE_S)


# The journal


def make_batches(commands: int, *, accounts: int = ACCOUNTS) -> Iterator[Batch]:
    """Yield a venue's first commands: listings, funded accounts, then the mix."""
    engine = Engine(compiler=compile_kernel)
    sequence, ts_ns = 1, START_NS
    for entries in _openings(accounts):
        batch = seal(entries, sequence, ts_ns)
        engine.run(batch.rows)
        sequence, ts_ns = batch.last_sequence + 1, ts_ns + BATCH_NS
        yield batch
    mix = mixed_commands(accounts, commands, first_sequence=sequence)
    dated = mix["expires_ns"] > 0
    mix["expires_ns"][dated] += START_NS + BATCH_NS * (commands // PER_BATCH)
    generator = np.random.default_rng(11)
    for first in range(0, commands, AIMED):
        chunk = mix[first : first + AIMED]
        aim_at_open_orders(chunk, engine.state, generator)
        rows = words(chunk).tolist()
        for begun in range(0, len(rows), PER_BATCH):
            entries = [
                Entry(row, _note(kind, first + begun + at))
                for at, (row, kind) in enumerate(
                    zip(rows[begun : begun + PER_BATCH], chunk["kind"][begun : begun + PER_BATCH], strict=True)
                )
            ]
            batch = seal(entries, sequence, ts_ns)
            engine.run(batch.rows)
            sequence, ts_ns = batch.last_sequence + 1, ts_ns + BATCH_NS
            yield batch


def _note(kind: int, number: int) -> Note:
    named = kind == CommandKind.PLACE and number % 2 == 0
    return Note(ORIGIN, client_order_id=f"order-{number:09d}") if named else Note(ORIGIN)


def _openings(accounts: int) -> Iterator[list[Entry]]:
    config = read_config(load_settings(SETTINGS, environ={}))
    yield configuration_entries(
        Registry(), assets=config.assets, listings=config.listings, fees=config.fees, house_funds=0
    )
    for account in range(FIRST_ACCOUNT, FIRST_ACCOUNT + accounts):
        opened = Entry(row_of(ask.create_account()), Note(ORIGIN, content={"name": f"account {account}"}))
        funds = [ask.deposit(account, asset.number, FUNDS) for asset in config.assets]
        yield [opened, *(Entry(row_of(deposit), Note(ORIGIN)) for deposit in funds)]


def _adapter(folder: str) -> SqliteDataAdapter:
    return SqliteDataAdapter(Path(folder) / "bench.sqlite")


async def _make(folder: str, commands: int) -> dict[str, Any]:
    data = _adapter(folder)
    await data.connect()
    failures: list[Exception] = []
    waiting = sequence = 0

    def stored(failure: Exception | None) -> None:
        nonlocal waiting
        waiting -= 1
        if failure is not None:
            failures.append(failure)

    for batch in make_batches(commands):
        waiting += 1
        data.journal.append_soon(batch.first_sequence, batch.last_sequence, pack_batch(batch), stored)
        sequence = batch.last_sequence
        while waiting >= MOST_WAITING or failures:
            check(not failures, f"the journal cannot be written: {failures}")
            await asyncio.sleep(0.01)
    check(await data.journal.last_sequence() == sequence, "the journal holds everything")
    await data.disconnect()
    return {"sequence": sequence}


# The starts


def _venue(store: Any) -> tuple[Venue, Projector]:
    projector = Projector(store)
    venue = Venue(Engine(), Registry(), projector, hub=Hub(), epoch=0, keep=1)
    return venue, projector


def _warm_up() -> None:
    """Load the compiled kernel, as a start does before it recovers."""
    Engine(compiler=compile_kernel).run(np.zeros(0, dtype=COMMAND))


async def _rebuild(folder: str) -> dict[str, Any]:
    data = _adapter(folder)
    await data.connect()
    _warm_up()
    begun = time.perf_counter()
    recovered = await rebuild_read_models(data, compiler=compile_kernel)
    elapsed_s = time.perf_counter() - begun
    venue, _ = _venue(data.exchange)
    await _recovered(data, venue)
    await data.disconnect()
    return {"elapsed_s": elapsed_s, "sequence": recovered.sequence, "state_hash": venue.engine.state_hash()}


async def _recover(folder: str, snapshot: bool) -> dict[str, Any]:
    data = _adapter(folder)
    await data.connect()
    _warm_up()
    begun = time.perf_counter()
    async for _ in data.journal.read():
        pass
    read_s = time.perf_counter() - begun
    venue, projector = _venue(data.exchange)
    replayed_s = 0.0

    def note(_: str, done: int, end: int) -> None:
        nonlocal replayed_s
        if done == end:
            replayed_s = time.perf_counter()

    begun = time.perf_counter()
    recovered = await _recovered(data, venue, projector, note)
    elapsed_s = time.perf_counter() - begun
    if snapshot:
        await SnapshotKeeper(venue, projector, data.kernel_snapshots, every=1).make()
    await data.disconnect()
    return {
        "elapsed_s": elapsed_s,
        "read_s": read_s,
        "replay_s": max(0.0, replayed_s - begun),
        "replayed": recovered.replayed,
        "state_hash": venue.engine.state_hash(),
    }


async def _recovered(
    data: SqliteDataAdapter, venue: Venue, projector: Projector | None = None, progress: Any = None
) -> Recovered:
    return await recover(
        venue,
        projector or _venue(data.exchange)[1],
        journal=data.journal,
        snapshots=data.kernel_snapshots,
        read_models=data.exchange,
        compiler=compile_kernel,
        progress=progress,
    )


# Open orders


class _Nowhere:
    """Read models that are never asked for."""

    async def store(self, projection: Projection) -> None:
        """Forget it."""


def resting_rows(orders: int, accounts: int, first_sequence: int, ts_ns: int) -> Rows:
    """Return orders that rest, on both sides of all instruments, over many prices."""
    generator = np.random.default_rng(5)
    rows = np.zeros(orders, dtype=COMMAND)
    rows["sequence"] = np.arange(first_sequence, first_sequence + orders)
    rows["ts_ns"] = ts_ns
    rows["kind"] = CommandKind.PLACE
    rows["account"] = FIRST_ACCOUNT + generator.integers(accounts, size=orders)
    rows["instrument"] = generator.integers(8, size=orders)
    rows["side"] = generator.integers(2, size=orders)
    rows["order_type"] = OrderType.LIMIT
    rows["time_in_force"] = TimeInForce.GTC
    away = generator.integers(1, 20_000, size=orders)
    rows["price_ticks"] = MIDDLE + np.where(rows["side"] == Side.BUY, -away, away)
    rows["order_lots"] = generator.integers(1, 100, size=orders)
    return rows


def _resident() -> int:
    gc.collect()
    return memory_of(os.getpid()).resident_bytes


async def _hold(orders: int) -> dict[str, Any]:
    venue, projector = _venue(_Nowhere())
    venue.engine = Engine(compiler=compile_kernel)
    sequence = 1
    for entries in _openings(ACCOUNTS):
        batch = seal(entries, sequence, START_NS)
        venue.process(batch)
        sequence = batch.last_sequence + 1
    await projector.flush()
    before_bytes = _resident()
    rows = resting_rows(orders, ACCOUNTS, sequence, START_NS)
    for first in range(0, orders, PER_BATCH):
        piece = rows[first : first + PER_BATCH]
        notes = (Note(ORIGIN, client_order_id=f"order-{first + at:09d}") for at in range(len(piece)))
        entries = [Entry(row, note) for row, note in zip(words(piece).tolist(), notes, strict=True)]
        venue.process(seal(entries, sequence + first, START_NS))
        if first % (PER_BATCH * 500) == 0:
            await projector.flush()
    await projector.flush()
    check(venue.engine.state.memory[H_OPEN_ORDERS] == orders, "every order rests")
    del rows
    kernel_bytes = venue.engine.state.memory.nbytes
    return {"before_bytes": before_bytes, "resident_bytes": _resident(), "kernel_bytes": kernel_bytes}


async def main(options: dict[str, Any]) -> None:
    """Do one part, and tell the parent."""
    configure_logging(level="warning", service="bench", version="0")
    match options.pop("part"):
        case "make":
            told = await _make(**options)
        case "rebuild":
            told = await _rebuild(**options)
        case "recover":
            told = await _recover(**options)
        case _:
            told = await _hold(**options)
    tell(told)


if __name__ == "__main__":
    run_child(main)
