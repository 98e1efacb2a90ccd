"""What every data adapter promises about coming and going."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from fauxchange.data.ports import DataAdapter
from fauxchange.platform.ports import DependencyStatus

ALONE = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import AuditQuery, CandleQuery, PriceFeedQuery, SymbolQuery
from fauxchange.domain.audit import GENESIS_HASH, AuditEvent
from fauxchange.domain.market_data import CandleRecord, FeedSource, MarketSnapshot, PriceFeed, SymbolRecord
from fauxchange.platform.ports import ServiceInstance

ONE = Decimal(1)


async def use(path):
    adapter = await open_data_adapter(path)
    await adapter.symbols.upsert(SymbolRecord(symbol="BTC/USD", tick_size=ONE, lot_size=ONE))
    await adapter.price_feeds.create(PriceFeed(symbol="BTC/USD", epoch=1, sequence=1, ts_ns=1, bid=ONE, ask=ONE,
                                               last=None, volume=ONE, source=FeedSource.FIXED))
    await adapter.candles.upsert(CandleRecord(symbol="BTC/USD", interval_ns=1, open_ns=1, open=ONE, high=ONE, low=ONE,
                                              close=ONE, volume=ONE, closed=True))
    await adapter.snapshots.create(MarketSnapshot(symbol="BTC/USD", ts_ns=1, sequence=1, bid=ONE, ask=ONE,
                                                  last_price=ONE, open_24h=ONE, high_24h=ONE, low_24h=ONE,
                                                  volume_24h=ONE, change_24h=ONE, source=FeedSource.FIXED))
    await adapter.audit.append([AuditEvent(source="a", type="t", sequence=1, ts_ns=1, actor="x",
                                           prev_hash=GENESIS_HASH)])
    await adapter.state.save("s", {"n": 1})
    await adapter.cache.set("k", b"v")
    await adapter.discovery.register(ServiceInstance(name="n", instance="i", version="1", host="h", http_port=1,
                                                     grpc_port=2, registered_ns=0, heartbeat_ns=0))
    found = [
        len(await adapter.symbols.query(SymbolQuery())),
        len((await adapter.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))).items),
        len((await adapter.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=1))).items),
        int(await adapter.snapshots.latest("BTC/USD") is not None),
        len((await adapter.audit.query(AuditQuery(source="a"))).items),
        len(await adapter.state.load("s")),
        len(await adapter.cache.keys()),
        len(await adapter.discovery.all()),
    ]
    await adapter.disconnect()
    return found


for path in (None, Path(sys.argv[1])):
    assert asyncio.run(use(path)) == [1] * 8
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("fauxchange.")}
print(*sorted(loaded))
"""


async def test_connected_adapter_is_well(adapter: DataAdapter) -> None:
    assert {health.status for health in adapter.health().values()} == {DependencyStatus.OK}


async def test_disconnecting_twice_is_safe(adapter: DataAdapter) -> None:
    await adapter.disconnect()

    await adapter.disconnect()


async def test_connecting_twice_is_safe(adapter: DataAdapter) -> None:
    await adapter.state.save("it", {"n": 1})

    await adapter.connect()

    assert await adapter.state.load("it") == {"n": 1}


async def test_adapter_may_be_connected_again_after_disconnecting(adapter: DataAdapter) -> None:
    await adapter.state.save("it", {"n": 1})
    await adapter.disconnect()

    await adapter.connect()

    assert await adapter.state.load("it") == {"n": 1}


async def test_opened_again_store_has_what_was_stored(open_again: Callable[[], Awaitable[DataAdapter]]) -> None:
    first = await open_again()
    await first.cache.set("forgotten", b"1")
    await first.state.save("kept", {"n": 1})

    second = await open_again()

    assert await second.state.load("kept") == {"n": 1}


def test_data_adapter_works_alone_with_no_service_loaded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, str(tmp_path / "alone.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "data" in done.stdout.split()
    assert "services" not in done.stdout.split()
