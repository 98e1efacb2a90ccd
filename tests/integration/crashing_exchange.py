"""An exchange that trades until it kills itself at a chosen point: run by `test_exchange_crashes.py`.

    python crashing_exchange.py FOLDER RUN POINT COUNT

POINT is one of `before-commit`, `inside-commit`, `after-commit` (of the journal's COUNT-th append), `snapshot` (the
COUNT-th statement of a snapshot), `read-models` (the COUNT-th statement of the main file), or `never`.
Each order is told before it is sent and when it is acknowledged, so that the parent knows what it may rely on.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from exchange_kit import ORIGIN, Exchange, order

from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.data.sqlite.files import open_connection
from fauxchange.domain.errors import FauxchangeError
from fauxchange.services.exchange.service.requests import Outcome
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Deadly:
    """A connection that ends the process at a chosen statement."""

    armed = False
    seen = 0

    def __init__(self, inner: sqlite3.Connection, point: str, count: int) -> None:
        self._inner = inner
        self._point = point
        self._count = count

    def execute(self, sql: str, *parameters: Any) -> Any:
        counted = _Deadly.armed and (self._point in {"snapshot", "read-models"} or sql.lstrip().startswith("INSERT"))
        if not counted:
            return self._inner.execute(sql, *parameters)
        _Deadly.seen += 1
        due = _Deadly.seen == self._count
        if due and self._point in {"before-commit", "snapshot", "read-models"}:
            _die()
        if due and self._point == "inside-commit":
            self._inner.set_progress_handler(_die, 20)  # type: ignore[arg-type]  # it never answers
        done = self._inner.execute(sql, *parameters)
        if due and self._point == "after-commit":
            _die()
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def _trade(folder: Path, run: int, point: str, count: int) -> None:
    def opener(path: Path) -> Any:
        connection = open_connection(path)
        wanted = {"snapshot": "-snapshots", "read-models": "fauxchange.sqlite"}.get(point, "-journal")
        return _Deadly(connection, point, count) if wanted in path.name else connection

    # Who kills itself at a chosen statement executes it itself; else the files are written by processes, as by a venue.
    data = SqliteDataAdapter(folder / "fauxchange.sqlite", opener=opener, own_processes=point == "never")
    await data.connect()
    exchange = await Exchange(data).start()
    storing = asyncio.ensure_future(exchange.projector.run())
    accounts = sorted(account for account in exchange.venue.registry.accounts if account > 2)
    if not accounts:
        accounts = [await exchange.account(USD="1000000000", BTC="100000") for _ in range(4)]
    snapshots = SnapshotKeeper(exchange.venue, exchange.projector, data.kernel_snapshots, every=1)
    chance = random.Random(run)
    _tell("ready", exchange.venue.sequence, exchange.hash())
    _Deadly.armed = True
    for turn in range(400):
        for number in range(8):
            name = f"{run}-{turn}-{number}"
            request = order(
                chance.choice(["buy", "sell"]), "0.01", str(50_000 + chance.randrange(-20, 20)), client_order_id=name
            )

            def answered(outcome: Outcome, name: str = name) -> None:
                if outcome.placement is not None:
                    _tell("ack", name, outcome.placement.order.order_id)

            _tell("sent", name)
            try:
                exchange.service.submit_order(chance.choice(accounts), request, ORIGIN, answered)
            except FauxchangeError as exc:
                _tell("refused", name, exc.code)
        await asyncio.sleep(0)
        if turn % 5 == 4:
            await exchange.sequencer.run_dry()
        if turn % 20 == 19:
            await snapshots.make()
    await exchange.stop()
    storing.cancel()
    await data.disconnect()
    _tell("over")


asyncio.run(_trade(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
