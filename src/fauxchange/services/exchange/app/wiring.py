"""Put the exchange service together, and take it through its life."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import grpc
import structlog
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.exchange.messages import KeyRequest
from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import NS_PER_MS
from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.platform.credentials import SecretBox, new_credentials
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.ports import Clock, DependencyHealth, MetricsPort
from fauxchange.platform.streams.endpoint import Heartbeat, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.exchange.app.config import ExchangeConfig
from fauxchange.services.exchange.core.commands import create_account, deposit
from fauxchange.services.exchange.core.engine import (
    Engine,
    dump_state,
    interpreted,
    load_state,
    new_state,
    stamp,
)
from fauxchange.services.exchange.core.layout import Rows, words
from fauxchange.services.exchange.core.memory import Rooms
from fauxchange.services.exchange.core.vocabulary import HOUSE_ACCOUNT
from fauxchange.services.exchange.ports import MarketPrices, RecordedBooks
from fauxchange.services.exchange.rest import exchange_audit_routes, exchange_routes
from fauxchange.services.exchange.rpc import SERVICE_NAME, ExchangeRpc
from fauxchange.services.exchange.rpc.kernel_link import KernelLinks
from fauxchange.services.exchange.service.access import AHEAD_MS, Access
from fauxchange.services.exchange.service.blocks import packer
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.exchange import ExchangeService
from fauxchange.services.exchange.service.expiry import ExpiryTimer
from fauxchange.services.exchange.service.flow import BackgroundFlow, warm_up
from fauxchange.services.exchange.service.genesis import background_entries, configuration_entries
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.liquidity import HouseLiquidity
from fauxchange.services.exchange.service.metrics import ExchangeMetrics, KernelLinkMetrics
from fauxchange.services.exchange.service.placing import count_steps
from fauxchange.services.exchange.service.pretrade import PreTrade
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.recovery import Progress, recover
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.services.exchange.service.resting import warm_up as warm_up_resting
from fauxchange.services.exchange.service.sequencer import Sequencer
from fauxchange.services.exchange.service.snapshots import SnapshotKeeper
from fauxchange.services.exchange.service.use_cases import failure_of
from fauxchange.services.exchange.service.venue import Venue
from fauxchange.services.exchange.ws import exchange_endpoint

NAME = "exchange"
DEMO = "demo"
HOUSE_ORIGIN = Origin("house")
WAIT_S = 0.5
"""How often a start that waits for its stores looks for them."""

WallTime = Callable[[], int]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DemoCredentials:
    """The funded account that a newcomer trades with."""

    account_id: str
    api_key: str
    api_secret: str
    is_new: bool


class Exchange:
    """The service with its edges; a lifecycle component."""

    name = NAME

    def __init__(
        self,
        config: ExchangeConfig,
        *,
        data: DataAdapter,
        prices: MarketPrices,
        clock: Clock,
        wall_ns: WallTime,
        metrics: MetricsPort,
        supervisor: Supervisor,
        secrets: SecretBox,
        admin_key: str,
        stream_metrics: StreamMetrics,
        progress: Progress | None = None,
        books: RecordedBooks | None = None,
    ) -> None:
        self._config = config
        self._data = data
        self._clock = clock
        self._supervisor = supervisor
        self._secrets = secrets
        self._progress = progress
        self._tasks: list[asyncio.Task[Any]] = []
        self._compiler: Callable[[Any], Any] = compile_kernel if numba_available() else interpreted
        self.demo: DemoCredentials | None = None
        hub = Hub()
        epoch = wall_ns() // 1_000_000
        self._projector = Projector(data.exchange)
        self._venue = Venue(Engine(), Registry(), self._projector, hub=hub, epoch=epoch, keep=config.kept_messages)
        self._sequencer = Sequencer(
            data.journal,
            self._venue,
            clock=clock,
            max_queue=config.max_queue,
            spawn=self._spawn,
            pack=packer(self._compiler),
        )
        self.service = ExchangeService(
            self._venue, self._sequencer, self._projector, data.exchange, clock=clock, spawn=self._spawn
        )
        self.service.new_key = self._new_key
        if config.pre_trade_checks:
            self.service.check_before = PreTrade(config.pre_trade_checks, self.service).check
        self._expiry = ExpiryTimer(self.service, clock)
        self._venue.expiring = self._expiry.expiring
        self._snapshots = SnapshotKeeper(
            self._venue, self._projector, data.kernel_snapshots, every=config.snapshot_every
        )
        self.house, self.flow = self._traders(prices, metrics, books)
        self.metrics = ExchangeMetrics(metrics)
        self._begun_ns = wall_ns()
        self.access = Access(
            self._venue.registry, secrets, admin_key=admin_key, wall_ns=wall_ns, not_before_ns=self._begun_ns
        )
        self.limits = RateLimits(clock, per_second=config.order_rate_limit, burst=config.order_rate_burst or None)
        self._heartbeat = Heartbeat(epoch=epoch, interval_s=config.limits.heartbeat_s, now_ns=clock.now_ns)
        self.rpc = ExchangeRpc(
            self.service,
            access=self.access,
            rates=self.limits,
            limits=config.limits,
            heartbeat=self._heartbeat,
            metrics=stream_metrics,
            flush_interval_s=config.flush_interval_s,
            max_streams=config.max_grpc_streams,
        )
        self.endpoint: StreamEndpoint = exchange_endpoint(
            self.service,
            self.access,
            self.limits,
            heartbeat=self._heartbeat,
            limits=config.limits,
            metrics=stream_metrics,
        )
        self.links: KernelLinks | None = None
        """The way in for gateways, where there is one."""

    def _traders(
        self, prices: MarketPrices, metrics: MetricsPort, books: RecordedBooks | None
    ) -> tuple[HouseLiquidity, BackgroundFlow]:
        """Return who trades for the venue itself, and hears of what comes of it."""
        config = self._config
        house = HouseLiquidity(
            self._submit_for_house, prices=prices, clock=self._clock, config=config, metrics=metrics, books=books
        )
        flow = BackgroundFlow(
            self.service, prices=prices, config=config, metrics=metrics, compiler=self._compiler, books=books
        )
        self._venue.house_heard = self._house_heard
        self._venue.flow_heard = flow.carried_out
        return house, flow

    def let_gateways_in(self, *, key: str, version: str, admin_key: str, metrics: MetricsPort) -> None:
        """Open a way in for gateways that present `key` and have this version; before the start."""
        self.links = KernelLinks(
            self.service,
            access=self.access,
            limits=self.limits,
            secrets=self._secrets,
            key=key,
            admin_key=admin_key,
            version=version,
            metrics=KernelLinkMetrics(metrics),
        )

    @property
    def rest_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the production API."""
        return exchange_routes(self.service, self.access, self.limits)

    @property
    def audit_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the audit API."""
        return exchange_audit_routes(self.service)

    @property
    def grpc_service(self) -> tuple[str, grpc.GenericRpcHandler]:
        """The full name of the gRPC service and its handlers."""
        return SERVICE_NAME, self.rpc.handler()

    def add_health(self, health: HealthRegistry) -> None:
        """Enter the service and what it leans on into the registry."""
        health.add_service(
            NAME,
            {
                "sequencer": self._sequencer.health,
                "read-models": self._projector.health,
                "house-liquidity": self.house.health,
                "order-flow": self.flow.health,
            },
        )
        for name in self._data.health():
            health.add_dependency(NAME, name, partial(self._store_health, name))

    def _store_health(self, name: str) -> DependencyHealth:
        return self._data.health()[name]

    async def start(self) -> None:
        """Recover once the stores are there, list what is configured, and begin.

        Raises: ConfigurationError, DamagedJournal, Unavailable
        """
        await asyncio.to_thread(self._warm_up)
        await self._stores_are_there()
        recovered = await recover(
            self._venue,
            self._projector,
            journal=self._data.journal,
            snapshots=self._data.kernel_snapshots,
            read_models=self._data.exchange,
            compiler=self._compiler,
            progress=self._progress,
        )
        if recovered.sequence:
            # The process before this one may have accepted what was stamped ahead of its clock.
            self.access.refuse_before(self._begun_ns + AHEAD_MS * NS_PER_MS)
            log.info(
                "exchange_recovered",
                snapshot=recovered.snapshot,
                replayed=recovered.replayed,
                followed=recovered.followed,
                sequence=recovered.sequence,
                state_hash=self._venue.engine.state_hash(),
            )
        registry = self._venue.registry
        self.access.unlock(key for account in registry.accounts for key in registry.keys_of(account))
        self._snapshots.go_on_after(recovered.snapshot)
        self._sequencer.go_on_after(self._venue.sequence, self._venue.ts_ns)
        self._venue.live = True
        self.metrics.watch(self.service)
        await self._list()
        await self._open_demo()
        await self._open_background()
        for expires_ns in self._venue.orders.expiring():
            self._expiry.expiring(expires_ns)
        self._tasks = [
            self._supervisor.supervise(self._projector.run(), "read models"),
            self._supervisor.supervise(self._snapshots.run(), "kernel snapshots"),
            self._supervisor.supervise(self.metrics.run(), "exchange metrics"),
        ]
        self._expiry.start()
        self._heartbeat.start()
        self.house.adopt(self._venue.orders.open_orders(HOUSE_ACCOUNT))
        await self.house.start(self._supervisor)
        self.flow.start(self._supervisor)

    async def stop(self) -> None:
        """Pull the house's quotes and the background orders, finish what was taken in, store everything."""
        await self.flow.stop()
        await self.house.stop()
        self.rpc.end_streams()
        if self.links is not None:
            self.links.end_all()
        await self._expiry.stop()
        await self._sequencer.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._heartbeat.stop()
        with suppress(Unavailable):
            await self._projector.flush()
            await self._snapshots.make()

    async def _stores_are_there(self) -> None:
        """Wait for the journal and the read models: an exchange that does not know what it has acknowledged is none.

        Raises: ConfigurationError, DamagedJournal; Unavailable if waiting is of no use
        """
        waiting = False
        while True:
            try:
                await self._data.journal.last_sequence()
                await self._data.exchange.position()
            except Unavailable as exc:
                if not exc.retryable:
                    raise
                if not waiting:
                    waiting = True
                    log.warning("exchange_waits_for_its_stores", reason=exc.message)
            else:
                return
            await asyncio.sleep(WAIT_S)

    def _warm_up(self) -> None:
        """Compile the kernel, or load what was compiled, before anything waits for it.

        Growing and loading a state are kernels too, which must not be compiled in the middle of trading.
        """
        engine = Engine(state=new_state(rooms=Rooms(accounts=4)), compiler=self._compiler)
        engine.run(stamp([create_account() for _ in range(8)], first_sequence=1, ts_ns=0))
        load_state(dump_state(engine.state), compiler=self._compiler)
        warm_up_resting(self._compiler)
        if self._config.flow:
            warm_up(self._compiler)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return self._supervisor.supervise(coroutine, name)

    # The first start

    async def _list(self) -> None:
        entries = configuration_entries(
            self._venue.registry,
            assets=self._config.assets,
            listings=self._config.listings,
            fees=self._config.fees,
            house_funds=self._config.house_funds,
        )
        if entries:
            await self._carry_out(entries)
        self.house.listed(self._venue.registry.listings)
        self.flow.listed(self._venue.registry.listings)

    async def _open_demo(self) -> None:
        """Open the funded demo account at the first start, and find it again later."""
        if not self._config.demo_funds:
            return
        origin = Origin("genesis")
        registry = self._venue.registry
        record = next((account for account in registry.accounts.values() if account.name == DEMO), None)
        is_new = record is None
        if record is None:
            # One group, so that no crash leaves the account without its money.
            number = self._venue.account_count
            opening = Entry(row_of(create_account()), Note(origin, content={"name": DEMO}))
            funds = [
                deposit(number, asset.number, count_steps(asset.amounts, f"{amount:f}", "DEMO_FUNDS"))
                for asset, amount in ((registry.asset(name), amount) for name, amount in self._demo_funds())
            ]
            await self._carry_out([opening, *(Entry(row_of(row), Note(origin)) for row in funds)])
            record = registry.accounts[number]
        account_id = str(record.account)
        key = next((key for key in registry.keys_of(record.account) if key.label == DEMO and not key.revoked_ns), None)
        if key is None and record.status == 0:
            key, secret = await self.service.create_key(account_id, KeyRequest(label=DEMO), origin)
        elif key is not None:
            secret = self._secrets.decrypt(key.encrypted_secret, key.api_key)
        if key is not None:
            self.demo = DemoCredentials(account_id, key.api_key, secret, is_new)

    async def _open_background(self) -> None:
        """Open the background accounts when the order flow is switched on for the first time."""
        if self._config.flow and not self._venue.registry.background.numbers:
            await self._carry_out(background_entries())

    def _demo_funds(self) -> list[tuple[str, Decimal]]:
        known = self._venue.registry.has_asset
        return [(asset, amount) for asset, amount in self._config.demo_funds.items() if amount > 0 and known(asset)]

    async def _carry_out(self, entries: Sequence[Entry]) -> None:
        """Carry out commands of a start. Raises: Unavailable, Rejected if one of them came to nothing."""
        self.service.submit(*entries)
        await self._sequencer.run_dry()
        for entry in entries:
            failure = failure_of(entry)
            if failure is not None:
                raise failure

    def _new_key(self) -> tuple[str, str, str]:
        return new_credentials(self._secrets)

    # The house

    def _submit_for_house(self, rows: Rows, done: Callable[[Any], None]) -> None:
        """Submit the house's commands as one group; `done` gets the events of all, or the failure."""
        entries = [Entry(row, Note(HOUSE_ORIGIN)) for row in words(rows).tolist()]

        def over(_last: Entry) -> None:
            failure = next((entry.failure for entry in entries if entry.failure is not None), None)
            done(failure or [event for entry in entries for event in entry.events])

        entries[-1].done = over
        self.service.submit(*entries)

    def _house_heard(self, records: Any, hit: set[str]) -> None:
        self.house.orders_changed(records)
        for symbol in sorted(hit):
            self.house.hit(symbol)
