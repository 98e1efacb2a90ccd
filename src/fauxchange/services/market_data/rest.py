"""Market data over REST: parse, ask the service, render."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from litestar import delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.market_data import render
from fauxchange.contracts.market_data.messages import (
    CandlesResponse,
    PriceHistoryResponse,
    PriceMessage,
    PricesResponse,
    ScenarioMessage,
    ScenariosResponse,
    SnapshotMessage,
    SymbolsResponse,
    TrailResponse,
)
from fauxchange.data.ports import MAX_PAGE, AuditQuery, AuditRepository, CandleQuery, PriceFeedQuery
from fauxchange.domain.intervals import INTERVAL_NAMES, INTERVALS_NS, parse_interval
from fauxchange.domain.times import parse_time
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.http.problems import problem_responses
from fauxchange.services.market_data.core.scenario_files import specs_from_mapping
from fauxchange.services.market_data.service.api import MarketDataApi
from fauxchange.services.market_data.service.scenarios import ScenarioDirector

TAGS = ["market data"]

SymbolPath = Annotated[
    str, PathParameter(description="A symbol, such as `BTC-USD`.", pattern=r"^[A-Za-z0-9]{1,16}[-/][A-Za-z0-9]{1,16}$")
]
StartQuery = Annotated[
    str | None, QueryParameter(name="start", description="The first time wanted, RFC 3339 (`2026-01-31T12:00:00Z`).")
]
EndQuery = Annotated[str | None, QueryParameter(name="end", description="The time to stop before, RFC 3339.")]
LimitQuery = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PAGE, description="The size of the page.")]
CursorQuery = Annotated[
    str | None,
    QueryParameter(name="cursor", description="`next_cursor` of the page before; the other parameters stay the same."),
]
OrderQuery = Annotated[
    Literal["asc", "desc"] | None,
    QueryParameter(name="order", description="Oldest first or newest first; newest first unless `start` is given."),
]
IntervalQuery = Annotated[
    str | None,
    QueryParameter(name="interval", description=f"One of {', '.join(INTERVALS_NS)}; the venue's default if not given."),
]


def market_data_routes(service: MarketDataApi) -> list[ControllerRouterHandler]:
    """Return the routes of market data."""

    @get("/symbols", tags=TAGS, sync_to_thread=False)
    def symbols() -> SymbolsResponse:
        """List the symbols that are priced, with their grids."""
        return SymbolsResponse(
            [render.symbol_message(market.instrument, market.source.value) for market in service.get_active_symbols()]
        )

    @get("/prices", tags=TAGS, sync_to_thread=False)
    def prices() -> PricesResponse:
        """Return the latest price of every symbol that has one."""
        return PricesResponse([render.price_message(quote) for quote in service.latest_prices()])

    @get("/prices/{symbol:str}", tags=TAGS, sync_to_thread=False)
    def price(symbol: SymbolPath) -> PriceMessage:
        """Return the latest price of one symbol."""
        return render.price_message(service.price(symbol))

    @get("/prices/{symbol:str}/history", tags=TAGS)
    async def price_history(
        symbol: SymbolPath,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = 1_000,
        cursor: CursorQuery = None,
        order: OrderQuery = None,
    ) -> PriceHistoryResponse:
        """Return stored prices of one symbol, page by page."""
        instrument = service.market(symbol).instrument
        page = await service.price_history(
            PriceFeedQuery(
                symbol=instrument.symbol,
                start_ns=_time_ns(start, "start"),
                end_ns=_time_ns(end, "end"),
                limit=limit,
                cursor=cursor,
                newest_first=_newest_first(order, start),
            )
        )
        return PriceHistoryResponse(
            symbol=instrument.symbol,
            prices=[render.stored_price_message(feed, instrument) for feed in page.items],
            next_cursor=page.next_cursor,
        )

    @get("/candles/{symbol:str}", tags=TAGS)
    async def candles(
        symbol: SymbolPath,
        interval: IntervalQuery = None,
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = 1_000,
        cursor: CursorQuery = None,
        order: OrderQuery = None,
    ) -> CandlesResponse:
        """Return candles of one symbol, page by page; the open candle is among them, with `closed` false."""
        instrument = service.market(symbol).instrument
        interval_ns = service.default_interval_ns if interval is None else parse_interval(interval)
        page = await service.candle_history(
            CandleQuery(
                symbol=instrument.symbol,
                interval_ns=interval_ns,
                start_ns=_time_ns(start, "start"),
                end_ns=_time_ns(end, "end"),
                limit=limit,
                cursor=cursor,
                newest_first=_newest_first(order, start),
            )
        )
        return CandlesResponse(
            symbol=instrument.symbol,
            interval=INTERVAL_NAMES[interval_ns],
            candles=[render.stored_candle_message(candle, instrument) for candle in page.items],
            next_cursor=page.next_cursor,
        )

    @get("/snapshots/{symbol:str}", tags=TAGS)
    async def snapshot(symbol: SymbolPath) -> SnapshotMessage:
        """Return the present state of one market with the statistics of its last 24 hours."""
        return render.snapshot_message(await service.current_snapshot(symbol), service.market(symbol).instrument)

    return [symbols, prices, price, price_history, candles, snapshot]


def _time_ns(text: str | None, field: str) -> int | None:
    return None if text is None else parse_time(text, field=field)


def _newest_first(order: str | None, start: str | None) -> bool:
    return start is None if order is None else order == "desc"


ACTOR = "audit-api"
AUDIT_TAGS = ["scenarios"]
TRAIL_TAGS = ["market data internals"]

ScenarioPath = Annotated[
    str, PathParameter(description="The id of a scenario.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
]


def audit_routes(
    director: ScenarioDirector, trail: AuditTrail, events: AuditRepository, state: Callable[[], dict[str, Any]]
) -> list[ControllerRouterHandler]:
    """Return the routes of the audit API: scenarios, the audit trail, the internal state."""

    @get("/scenarios", tags=AUDIT_TAGS, sync_to_thread=False)
    def scenarios() -> ScenariosResponse:
        """List the scenarios: scheduled, active, and the last that ended or were cancelled."""
        return ScenariosResponse([run.message() for run in director.runs()])

    @post("/scenarios", tags=AUDIT_TAGS, responses=problem_responses(404, 409))
    async def start_scenarios(data: JSONBody[dict[str, Any]]) -> ScenariosResponse:
        """Start a scenario, or several on one timeline (`{"scenarios": [...]}`): all of them or none.

        A scenario is `{"kind": "crash", "symbols": ["BTC/USD"], "magnitude": 0.2, "duration": "10m"}` with an optional
        `id`, `start` (a duration from now) and the options of its kind; no symbols means all that are modelled.
        """
        specs = specs_from_mapping(data, taken=director.ids)
        runs = await director.start(specs, actor=ACTOR)
        return ScenariosResponse([run.message() for run in runs])

    @delete("/scenarios", status_code=200, tags=AUDIT_TAGS)
    async def cancel_scenarios() -> ScenariosResponse:
        """End every scenario that is scheduled or active, and return them."""
        return ScenariosResponse([run.message() for run in await director.cancel_all(actor=ACTOR)])

    @get("/scenarios/{scenario_id:str}", tags=AUDIT_TAGS, sync_to_thread=False)
    def scenario(scenario_id: ScenarioPath) -> ScenarioMessage:
        """Return one scenario and how far it has come."""
        return director.run(scenario_id).message()

    @delete("/scenarios/{scenario_id:str}", status_code=200, tags=AUDIT_TAGS, responses=problem_responses(409))
    async def cancel_scenario(scenario_id: ScenarioPath) -> ScenarioMessage:
        """End a scenario now: what it did to prices stays, it does nothing more."""
        return (await director.cancel(scenario_id, actor=ACTOR)).message()

    @get("/market-data/trail", tags=TRAIL_TAGS)
    async def audit_trail(
        start: StartQuery = None,
        end: EndQuery = None,
        limit: LimitQuery = 1_000,
        cursor: CursorQuery = None,
        event_type: Annotated[
            str | None, QueryParameter(name="type", description="Only events of this type.", max_length=128)
        ] = None,
    ) -> TrailResponse:
        """Return the audit trail as CloudEvents, oldest first, page by page."""
        await trail.flush()
        page = await events.query(
            AuditQuery(
                source=trail.source,
                type=event_type,
                start_ns=_time_ns(start, "start"),
                end_ns=_time_ns(end, "end"),
                limit=limit,
                cursor=cursor,
            )
        )
        return TrailResponse([event.cloud_event() for event in page.items], page.next_cursor)

    @get("/market-data/state", tags=TRAIL_TAGS, sync_to_thread=False)
    def internal_state() -> dict[str, Any]:
        """Return the internal state: sources, sequences, open candles, backlog."""
        return state()

    return [
        scenarios,
        start_scenarios,
        cancel_scenarios,
        scenario,
        cancel_scenario,
        audit_trail,
        internal_state,
    ]
