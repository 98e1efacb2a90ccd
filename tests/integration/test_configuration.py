"""The configuration service over real sockets, and a feed that follows it: in the same process and in another."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import grpc
import grpc.aio
import httpx
import pytest
from configuration_kit import until
from typer.testing import CliRunner, Result

from fauxchange.cli.app import app
from fauxchange.contracts.configuration.v1 import configuration_pb2 as pb
from fauxchange.contracts.configuration.v1 import configuration_pb2_grpc
from fauxchange.platform.ready import read_ready
from fauxchange.testing import RunningVenue, running

START_TIME = "2026-01-31T12:00:00Z"
MODELLED = {"DEFAULT_SYMBOLS": "BTC/USD,ETH/USD", "MODEL_ENGINE": "python", "PRICE_UPDATE_INTERVAL": "1s"}
FEED = ("configuration", "market-data")


def admin(venue_dir: Path) -> dict[str, str]:
    return {"authorization": f"Bearer {read_ready(venue_dir).secrets['admin_key']}"}


class Caller:
    """Whoever asks the REST API of a venue."""

    opened: ClassVar[list[httpx.AsyncClient]] = []

    def __init__(self, venue: RunningVenue, folder: Path) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{venue.venue.http}/api/v1", headers=admin(folder), trust_env=False, timeout=60.0
        )
        self.opened.append(self.http)

    async def set(self, key: str, value: Any, service: str = "market-data") -> dict[str, Any]:
        answer = await self.http.put(f"/configuration/{service}/{key}", json={"value": value})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def spread_bps(self, symbol: str = "BTC-USD") -> float:
        price = (await self.http.get(f"/prices/{symbol}")).json()
        bid, ask = Decimal(price["bid"]), Decimal(price["ask"])
        return float((ask - bid) / (ask + bid) * 2 * 10_000)


@pytest.fixture(autouse=True)
async def _close_callers() -> AsyncIterator[None]:
    yield
    while Caller.opened:
        await Caller.opened.pop().aclose()


@pytest.fixture
async def virtual(tmp_path: Path) -> AsyncIterator[RunningVenue]:
    async with running(tmp_path, {**MODELLED, "START_TIME": START_TIME}, services=FEED, paused=True) as venue:
        yield venue


# In one process


async def test_a_changed_parameter_holds_from_the_next_price_on_and_is_an_event(
    virtual: RunningVenue, tmp_path: Path
) -> None:
    caller = Caller(virtual, tmp_path)
    await virtual.clock.step(2_000_000_000)
    assert await caller.spread_bps() == pytest.approx(1, rel=0.01)

    change = await caller.set("spread_bps.BTC-USD", 20)
    await until(lambda: virtual.market_data.tuner.version == change["version"])
    await virtual.clock.step(1_000_000_000)

    assert await caller.spread_bps() == pytest.approx(20, rel=0.01)
    assert await caller.spread_bps("ETH-USD") == pytest.approx(1, rel=0.01)
    audit = httpx.AsyncClient(base_url=virtual.venue.audit, headers=virtual.venue.audit_headers, trust_env=False)
    events = (await audit.get("/audit/v1/market-data/trail?type=fauxchange.feed.parameter_changed")).json()["events"]
    (event,) = events
    assert (event["subject"], event["time"]) == ("spread_bps.BTC-USD", "2026-01-31T12:00:02.000000Z")
    assert event["data"] == {"before": "1", "after": "20", "version": 1}
    trail = (await audit.get("/audit/v1/configuration/trail")).json()["events"]
    assert [each["subject"] for each in trail] == ["market-data/development/spread_bps.BTC-USD"]
    await audit.aclose()


async def test_a_shorter_interval_holds_at_once_however_long_the_one_before_was(tmp_path: Path) -> None:
    settings = {**MODELLED, "START_TIME": START_TIME, "PRICE_UPDATE_INTERVAL": "1h"}
    async with running(tmp_path, settings, services=FEED, paused=True) as venue:
        caller = Caller(venue, tmp_path)
        market = venue.market_data.service.markets["BTC/USD"]
        await venue.clock.step(60_000_000_000)
        before = market.prices.sequence

        await caller.set("price_update_interval", "500ms")
        await until(lambda: venue.market_data.tuner.version == 1)
        await venue.clock.step(10_000_000_000)
        assert market.prices.sequence - before == 21

        await caller.http.delete("/configuration/market-data/price_update_interval")
        await until(lambda: venue.market_data.tuner.version == 2)
        await venue.clock.step(10_000_000_000)
        assert market.prices.sequence - before == 21


async def test_the_same_changes_at_the_same_moments_give_the_same_prices(tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        settings = {**MODELLED, "START_TIME": START_TIME, "SEED": 5}
        async with running(folder, settings, services=FEED, paused=True) as venue:
            caller = Caller(venue, folder)
            for version, (key, value) in enumerate(
                [("volatility", "4"), ("price_update_interval", "300ms"), ("spread_bps.ETH-USD", "50")], 1
            ):
                await venue.clock.step(5_000_000_000)
                await caller.set(key, value)
                await until(lambda venue=venue, version=version: venue.market_data.tuner.version == version)
            await venue.clock.step(5_000_000_000)
            history = (await caller.http.get("/prices/ETH-USD/history?limit=1000")).json()["prices"]
            runs.append([(price["timestamp"], price["bid"], price["ask"]) for price in history])

    assert runs[0] == runs[1]
    assert len(runs[0]) > 30


async def test_on_wall_time_quotes_widen_within_a_second(tmp_path: Path) -> None:
    settings = {**MODELLED, "PRICE_UPDATE_INTERVAL": "100ms"}
    async with running(tmp_path, settings, services=FEED) as venue:
        caller = Caller(venue, tmp_path)
        market = venue.market_data.service.markets["BTC/USD"]
        await until(lambda: market.quote is not None)

        begun_s = time.monotonic()
        await caller.set("spread_bps.BTC-USD", 200)
        await until(lambda: market.quote is not None and market.quote.ask_ticks - market.quote.bid_ticks > 50_000)

        # A second on an idle machine; this one may be busy.
        assert time.monotonic() - begun_s < 10


async def test_values_and_the_running_prices_outlive_a_restart(tmp_path: Path) -> None:
    settings = {**MODELLED, "STORE": "sqlite"}
    async with running(tmp_path, settings, services=FEED) as venue:
        caller = Caller(venue, tmp_path)
        await caller.set("spread_bps.BTC-USD", 30)
        await caller.set("price_update_interval", "50ms")
        await until(lambda: venue.market_data.tuner.version == 2)
        market = venue.market_data.service.markets["BTC/USD"]
        before = market.prices.sequence
        await until(lambda: market.prices.sequence > before + 3)
    last = market.quote
    assert last is not None

    async with running(tmp_path, settings, services=FEED) as venue:
        market = venue.market_data.service.markets["BTC/USD"]
        await until(lambda: market.quote is not None)
        quote = market.quote
        assert quote is not None
        assert venue.market_data.tuner.parameters.interval_ns == 50_000_000
        assert quote.mid_half_ticks == pytest.approx(last.mid_half_ticks, rel=0.01)
        assert (quote.ask_ticks - quote.bid_ticks) / quote.mid_half_ticks * 2 == pytest.approx(30e-4, rel=0.01)


async def test_a_file_gives_the_first_values(tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    file.write_text("values: {market-data: {spread_bps: 7}, my-bot: {symbols: [BTC-USD]}}")
    async with running(tmp_path, {**MODELLED, "CONFIGURATION_FILE": str(file)}, services=FEED) as venue:
        caller = Caller(venue, tmp_path)
        market = venue.market_data.service.markets["BTC/USD"]
        await until(lambda: market.quote is not None)

        assert await caller.spread_bps() == pytest.approx(7, rel=0.01)
        assert (await caller.http.get("/configuration/my-bot/symbols")).json()["value"] == ["BTC-USD"]


async def test_a_stop_does_not_wait_for_those_who_wait_for_a_change(tmp_path: Path) -> None:
    async with running(tmp_path, MODELLED, services=("configuration",)) as venue:
        caller = Caller(venue, tmp_path)
        await caller.set("it", 1, service="my-bot")
        tag = (await caller.http.get("/configuration/my-bot")).headers["etag"]
        headers = {"if-none-match": tag, "prefer": "wait=30"}
        waiting = asyncio.create_task(caller.http.get("/configuration/my-bot", headers=headers))
        watching = asyncio.create_task(_watch_to_the_end(venue))
        configuration = venue.process.configuration
        assert configuration is not None
        await until(lambda: configuration.service.waiting._waiting == 2)

        begun_s = time.monotonic()
        code = await venue.stop()

        assert (code, (await waiting).status_code) == (0, 304)
        assert await watching == grpc.StatusCode.UNAVAILABLE
        # The stop has 10 s; who waits would have taken 30.
        assert time.monotonic() - begun_s < 8


async def _watch_to_the_end(venue: RunningVenue) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(venue.venue.grpc) as channel:
        stub = configuration_pb2_grpc.ConfigurationServiceStub(channel)
        try:
            async for _ in stub.WatchValues(pb.WatchValuesRequest(service="my-bot")):
                pass
        except grpc.aio.AioRpcError as exc:
            return exc.code()
    return grpc.StatusCode.OK


# gRPC


class Rpc:
    """A gRPC caller."""

    def __init__(self, venue: RunningVenue, folder: Path) -> None:
        self.channel = grpc.aio.insecure_channel(venue.venue.grpc)
        self.stub = configuration_pb2_grpc.ConfigurationServiceStub(self.channel)
        self.admin = tuple(admin(folder).items())

    async def set(self, key: str, value_json: str, **given: Any) -> Any:
        request = pb.SetValueRequest(service="my-bot", key=key, value_json=value_json, **given)
        return await self.stub.SetValue(request, metadata=self.admin)


@pytest.fixture
async def rpc(tmp_path: Path) -> AsyncIterator[Rpc]:
    async with running(tmp_path, {"WS_HEARTBEAT": "100ms"}, services=("configuration",)) as venue:
        caller = Rpc(venue, tmp_path)
        yield caller
        await caller.channel.close()


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), dict(refused.value.trailing_metadata() or ())["fx-code"]


async def test_grpc_sets_reads_lists_and_rolls_back(rpc: Rpc) -> None:
    first = await rpc.set("a", "5", type="int", comment="why not")
    await rpc.set("a", "6", expected_version=1)
    await rpc.set("b", '"text"')

    got = await rpc.stub.GetValue(pb.GetValueRequest(service="my-bot", key="a"))
    listed = await rpc.stub.ListValues(pb.ListValuesRequest(service="my-bot", limit=1))
    rest = await rpc.stub.ListValues(pb.ListValuesRequest(service="my-bot", cursor=listed.next_cursor))
    history = await rpc.stub.ListHistory(pb.ListHistoryRequest(service="my-bot", key="a"))
    back = await rpc.stub.RollBack(pb.RollBackRequest(service="my-bot", key="a", version=1), metadata=rpc.admin)
    gone = await rpc.stub.DeleteValue(pb.DeleteValueRequest(service="my-bot", key="b"), metadata=rpc.admin)

    assert (first.version, first.type, first.changed_by, first.comment) == (1, "int", "admin", "why not")
    assert (got.value_json, got.version) == ("6", 2)
    assert [each.key for each in (*listed.values, *rest.values)] == ["a", "b"]
    assert (listed.version, rest.next_cursor) == (3, "")
    assert [change.value_json for change in history.changes] == ["6", "5"]
    assert (back.value_json, gone.deleted, gone.value_json) == ("5", True, "")


async def test_grpc_refuses_with_the_codes_of_rest(rpc: Rpc) -> None:
    await rpc.set("a", "5")
    strange = pb.SetValueRequest(service="my-bot", key="a", value_json="5")

    assert await refusal(rpc.stub.SetValue(strange)) == (grpc.StatusCode.UNAUTHENTICATED, "admin_key_required")
    assert await refusal(rpc.set("a", "{")) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed_body")
    assert await refusal(rpc.set("A", "1")) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_request")
    assert await refusal(rpc.set("a", "1", type="text")) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_choice")
    assert await refusal(rpc.set("a", "1", expected_version=7)) == (grpc.StatusCode.ALREADY_EXISTS, "version_conflict")
    missing = pb.GetValueRequest(service="my-bot", key="b")
    assert await refusal(rpc.stub.GetValue(missing)) == (grpc.StatusCode.NOT_FOUND, "configuration_not_set")
    many = pb.ListValuesRequest(service="my-bot", limit=20_000)
    assert await refusal(rpc.stub.ListValues(many)) == (grpc.StatusCode.INVALID_ARGUMENT, "limit_out_of_range")


async def news(stream: Any) -> Any:
    """Return the next message that is no heartbeat."""
    while True:
        message = await stream.read()
        if message.changes or message.snapshot:
            return message


async def test_a_watch_begins_with_all_keys_and_goes_on_with_changes_and_heartbeats(rpc: Rpc) -> None:
    await rpc.set("a", "1")
    stream = rpc.stub.WatchValues(pb.WatchValuesRequest(service="my-bot"))

    snapshot = await stream.read()
    heartbeat = await stream.read()
    await rpc.set("b", "2")
    change = await news(stream)
    await rpc.stub.DeleteValue(pb.DeleteValueRequest(service="my-bot", key="a"), metadata=rpc.admin)
    deletion = await news(stream)
    stream.cancel()

    assert (snapshot.snapshot, [each.key for each in snapshot.changes], snapshot.version) == (True, ["a"], 1)
    assert (heartbeat.snapshot, len(heartbeat.changes), heartbeat.version) == (False, 0, 1)
    assert [(each.key, each.value_json, each.deleted) for each in change.changes] == [("b", "2", False)]
    assert [(each.key, each.deleted) for each in deletion.changes] == [("a", True)]


async def test_a_watch_resumes_after_a_version_and_misses_nothing(rpc: Rpc) -> None:
    for value in range(5):
        await rpc.set("a", str(value))
    await rpc.set("b", "0")

    stream = rpc.stub.WatchValues(pb.WatchValuesRequest(service="my-bot", after_version=2))
    missed = await stream.read()
    stream.cancel()
    ahead = rpc.stub.WatchValues(pb.WatchValuesRequest(service="my-bot", after_version=99))
    anew = await ahead.read()
    ahead.cancel()

    assert [change.version for change in missed.changes] == [3, 4, 5, 6]
    assert (anew.snapshot, anew.version) == (True, 6)


# In two processes' worth of services


async def test_a_feed_follows_a_configuration_service_elsewhere_and_outlives_its_loss(tmp_path: Path) -> None:
    there, here = tmp_path / "configuration", tmp_path / "feed"
    async with running(there, {"STORE": "sqlite"}, services=("configuration",)) as service:
        port = service.venue.http.rpartition(":")[2]
        caller = Caller(service, there)
        await caller.set("spread_bps", 10)
        settings = {**MODELLED, "PRICE_UPDATE_INTERVAL": "100ms", "CONFIG_SERVICE_URL": service.venue.http}
        feed = running(here, settings, services=("market-data",))
        venue = await feed.__aenter__()
        tuner = venue.market_data.tuner
        assert tuner.parameters.spread_bps["BTC/USD"] == 10

        await caller.set("spread_bps.BTC-USD", 20)
        await until(lambda: tuner.parameters.spread_bps["BTC/USD"] == 20)

    def states() -> dict[str, str]:
        report = venue.process.health.report().services["market-data"].dependencies
        return {name: dependency.status.value for name, dependency in report.items()}

    await until(lambda: states()["configuration"] == "degraded")
    sequence = venue.market_data.service.markets["BTC/USD"].prices.sequence
    await until(lambda: venue.market_data.service.markets["BTC/USD"].prices.sequence > sequence + 2)
    assert tuner.parameters.spread_bps == {"BTC/USD": 20.0, "ETH/USD": 10.0}

    async with running(there, {"STORE": "sqlite", "HTTP_PORT": port}, services=("configuration",)) as service:
        caller = Caller(service, there)
        await caller.set("spread_bps.BTC-USD", 5)
        await until(lambda: tuner.parameters.spread_bps["BTC/USD"] == 5)
        assert states()["configuration"] == "ok"
        await feed.__aexit__(None, None, None)


# The command line


async def command(*arguments: str, folder: Path) -> Result:
    line = ["config", *arguments, "--data-dir", str(folder)]
    return await asyncio.to_thread(CliRunner().invoke, app, line, catch_exceptions=False, prog_name="fauxchange")


async def test_the_command_line_sets_reads_and_tells_the_history(tmp_path: Path) -> None:
    async with running(tmp_path, MODELLED, services=FEED):
        set_ = await command("set", "market-data", "spread_bps.BTC/USD", "20", "--comment", "wider", folder=tmp_path)
        listed = await command("list", "market-data", folder=tmp_path)
        got = await command("get", "market-data", "spread_bps.BTC-USD", folder=tmp_path)
        await command("delete", "market-data", "spread_bps.BTC-USD", folder=tmp_path)
        back = await command("rollback", "market-data", "spread_bps.BTC-USD", "1", "--json", folder=tmp_path)
        history = await command("history", "market-data", "spread_bps.BTC-USD", folder=tmp_path)
        services = await command("list", folder=tmp_path)
        schema = await command("schema", "market-data", folder=tmp_path)
        wrong = await command("set", "market-data", "spred", "20", folder=tmp_path)
        conflict = await command(
            "set", "market-data", "spread_bps.BTC-USD", "9", "--expected-version", "1", folder=tmp_path
        )
        stranger = await command("set", "a", "b", "1", "--admin-key", "not-the-admin-key", folder=tmp_path)

    assert "spread_bps.BTC-USD" in set_.stdout
    assert "spread_bps.BTC-USD" in listed.stdout
    assert got.stdout == "20\n"
    assert '"value": "20"' in back.stdout
    assert [word in history.stdout for word in ("deleted", "wider", "admin")] == [True] * 3
    assert "market-data" in services.stdout
    assert "0.01 to 20" in schema.stdout
    assert (wrong.exit_code, "did you mean spread_bps?" in wrong.stderr) == (2, True)
    assert (conflict.exit_code, "version 3" in conflict.stderr) == (2, True)
    assert (stranger.exit_code, "--admin-key" in stranger.stderr) == (2, True)


async def test_config_without_a_command_is_about_the_settings_of_a_start(tmp_path: Path) -> None:
    for arguments in ([], ["spread"], ["settings", "spread"]):
        told = await asyncio.to_thread(CliRunner().invoke, app, ["config", *arguments])
        assert "SPREAD_BPS" in told.stdout
