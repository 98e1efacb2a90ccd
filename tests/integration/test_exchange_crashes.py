"""The exchange is killed twenty times under load, at chosen points and at random: nothing acknowledged is lost."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from exchange_kit import Exchange

from fauxchange.data.ports import OrderQuery
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.errors import NotFound
from fauxchange.services.exchange.app.offline import verify_stores
from fauxchange.services.exchange.core.engine import interpreted

SCRIPT = Path(__file__).with_name("crashing_exchange.py")
POINTS = [
    ("before-commit", 3),
    ("inside-commit", 2),
    ("after-commit", 5),
    ("snapshot", 4),
    ("read-models", 30),
    ("inside-commit", 9),
    ("snapshot", 7),
    ("after-commit", 12),
    ("before-commit", 20),
    ("read-models", 60),
    ("snapshot", 1),
    ("inside-commit", 30),
]
RANDOM_KILLS = 8


@dataclass
class Told:
    """What a run has told its parent before it died."""

    sent: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    ended: bool = False

    def hear(self, line: str) -> None:
        word, *rest = line.split()
        if word == "sent":
            self.sent.append(rest[0])
        elif word == "ack":
            self.acknowledged[rest[0]] = int(rest[1])
        elif word == "over":
            self.ended = True


def _run(folder: Path, run: int, point: str, count: int, kill_after: int | None, told: Told) -> int:
    """Let the exchange trade until it dies; kill it after so many acknowledgements if it does not do so itself."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, str(SCRIPT), str(folder), str(run), point, str(count)]
    before = len(told.acknowledged)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # A line that the kill cut short says nothing.
            if line.endswith("\n"):
                told.hear(line)
            if kill_after is not None and len(told.acknowledged) - before >= kill_after:
                process.kill()
    return process.returncode


def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    told = Told()
    chance = random.Random(20)
    for run, (point, count) in enumerate(POINTS):
        assert _run(tmp_path, run, point, count, None, told) == -signal.SIGKILL, (point, count)
    for run in range(RANDOM_KILLS):
        code = _run(tmp_path, 100 + run, "never", 0, chance.randrange(1, 400), told)
        assert code == -signal.SIGKILL
    assert not told.ended
    assert len(told.acknowledged) > 500

    asyncio.run(_examine(tmp_path, told))


async def _examine(folder: Path, told: Told) -> None:
    # The processes that wrote for the last one killed may still be at it: this waits for them.
    data = SqliteDataAdapter(folder / "fauxchange.sqlite", own_processes=True)
    await data.connect()
    exchange = await Exchange(data).start()
    accounts = [account for account in exchange.venue.registry.accounts if account > 2]
    found: dict[str, int] = {}
    for account in accounts:
        cursor: str | None = None
        while True:
            page = await exchange.service.orders(OrderQuery(account=account, limit=1_000, cursor=cursor))
            for record in page.items:
                assert record.client_order_id is not None
                assert record.client_order_id not in found, "an order exists twice"
                found[record.client_order_id] = record.order_id
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found.items() >= told.acknowledged.items()
    assert set(found) <= set(told.sent)
    # What was sent and not acknowledged is either there or not, and its caller can find out which.
    for name in set(told.sent) - set(told.acknowledged):
        for account in accounts:
            try:
                placement = await exchange.service.order(account, f"client:{name}")
            except NotFound:
                continue
            assert found[name] == placement.order.order_id
    assert all(free + held == 0 for free, held in exchange.sums().values())
    live = exchange.hash()
    await exchange.stop()
    verified = await verify_stores(data, compiler=interpreted)
    assert verified.state_hash == live
    await data.disconnect()
