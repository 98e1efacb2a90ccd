"""What the exchange takes from the settings, read once, and checked against each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, cast

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.settings import Settings
from fauxchange.platform.settings.values import DECIMALS, for_symbol
from fauxchange.platform.streams.endpoint import StreamLimits
from fauxchange.services.exchange.core.quoting import HousePlan, Pricing, Style
from fauxchange.services.exchange.core.vocabulary import MAX_TIERS
from fauxchange.services.exchange.service.flow import FlowPlan

ALWAYS_ASSETS: Final = ("BTC", "ETH", "USD", "USDT")
USDT_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT")
USDT_USD: Final = "USDT/USD"

HOUSE_FUNDS: Final = 10**18
"""What the house gets of each asset: ten thousand million units with 8 decimals, and far from 64 bits.

Units: minor units of the asset
"""
OFF: Final = "off"
RATES_PER_BPS: Final = 100
BPS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    """The service's own settings.

    Units: nanoseconds of venue time where `_ns`, seconds where `_s`; fees as maker and taker rates by tier, in
           1/1,000,000; house_funds in minor units of each asset; demo_funds in whole units; max_queue and
           snapshot_every in commands; order rates in requests (a second)
    """

    assets: tuple[Asset, ...]
    listings: tuple[Listing, ...]
    fees: Mapping[int, tuple[int, int]]
    pricing: Mapping[str, Pricing]
    """Where prices come from, by instrument; one that is not here has none."""
    feeds: Mapping[str, Instrument]
    """What market data is read for, as it is set: the grids that `pricing` counts on."""
    house: Mapping[str, HousePlan]
    """How the house quotes, by instrument."""
    house_funds: int
    flow: Mapping[str, FlowPlan]
    """The instruments that have background traders."""
    flow_slice_ns: int
    seed: int
    recorded_book_levels: int
    house_refresh_interval_ns: int
    house_stale_after_ns: int
    order_rate_limit: int
    order_rate_burst: int
    snapshot_every: int
    max_queue: int
    demo_funds: Mapping[str, Decimal]
    pre_trade_checks: tuple[str, ...]
    kept_messages: int
    limits: StreamLimits
    flush_interval_s: float
    max_grpc_streams: int


def read_config(settings: Settings, feeds: Sequence[Instrument] | None = None) -> ExchangeConfig:
    """Return the service's settings; `feeds` are the instruments that market data prices (None: as it is configured).

    Raises: ConfigurationError that names the variable
    """
    if feeds is None:
        feeds = [settings.instrument(symbol) for symbol in settings.default_symbols]
    priced = {feed.symbol: feed for feed in feeds}
    symbols = settings.exchange_symbols or _default_symbols(priced)
    assets = _assets(settings, symbols)
    listings = tuple(
        _listing(settings, number, settings.instrument(symbol), assets) for number, symbol in enumerate(symbols)
    )
    pricing = {
        listing.symbol: found
        for listing in listings
        if (found := _pricing(listing.instrument, priced, settings.usdt_usd)) is not None
    }
    return ExchangeConfig(
        assets=tuple(assets.values()),
        listings=listings,
        fees=_fees(settings),
        pricing=pricing,
        feeds={each.feed: priced[each.feed] for each in pricing.values() if each.feed is not None},
        house={listing.symbol: _plan(settings, listing, pricing, len(listings)) for listing in listings},
        house_funds=HOUSE_FUNDS,
        flow={
            listing.symbol: plan
            for listing in listings
            if (plan := _flow(settings, listing.symbol, pricing)) is not None
        },
        flow_slice_ns=settings.order_flow_slice_ns,
        seed=settings.seed,
        recorded_book_levels=settings.replay_book_levels,
        house_refresh_interval_ns=settings.house_refresh_interval_ns,
        house_stale_after_ns=settings.house_stale_after_ns,
        order_rate_limit=settings.order_rate_limit,
        order_rate_burst=settings.order_rate_burst,
        snapshot_every=settings.snapshot_every,
        max_queue=settings.exchange_max_queue,
        demo_funds=_demo_funds(settings, assets),
        pre_trade_checks=settings.pre_trade_checks,
        kept_messages=max(1, settings.resume_buffer),
        limits=stream_limits(settings),
        flush_interval_s=settings.grpc_flush_interval_ns / NS_PER_S,
        max_grpc_streams=settings.grpc_max_streams,
    )


def stream_limits(settings: Settings) -> StreamLimits:
    """Return what one reader of streams may take."""
    return StreamLimits(
        connections=settings.ws_max_connections,
        subscriptions=settings.ws_max_subscriptions,
        message_bytes=settings.ws_max_frame_bytes,
        queue_bytes=settings.ws_queue_bytes,
        heartbeat_s=settings.ws_heartbeat_ns / NS_PER_S,
    )


# What is traded


def _default_symbols(priced: Mapping[str, Instrument]) -> tuple[str, ...]:
    """Return what is priced, and the usual instruments against USDT where their base is priced in USD."""
    against_usdt = [symbol for symbol in USDT_SYMBOLS if symbol not in priced and _in_usd(symbol) in priced]
    symbols = [*priced, *against_usdt]
    if against_usdt and USDT_USD not in priced:
        symbols.append(USDT_USD)
    return tuple(symbols)


def _in_usd(symbol: str) -> str:
    return f"{symbol.partition('/')[0]}/USD"


def _assets(settings: Settings, symbols: Iterable[str]) -> dict[str, Asset]:
    """Return all assets by name: the usual ones, those of the instruments, further ones."""
    extra = settings.exchange_assets
    sides = [side for symbol in symbols for side in symbol.split("/")]
    names = list(dict.fromkeys([*ALWAYS_ASSETS, *sides, *extra]))
    return {
        name: Asset(number=number, name=name, decimals=extra.get(name, DECIMALS)) for number, name in enumerate(names)
    }


def _listing(settings: Settings, number: int, instrument: Instrument, assets: Mapping[str, Asset]) -> Listing:
    symbol, base, quote = instrument.symbol, assets[instrument.base], assets[instrument.quote]
    if base is quote:
        raise ConfigurationError(f"EXCHANGE_SYMBOLS: {symbol} has the same asset on both sides")
    _check_whole(instrument.lot_size.scaleb(base.decimals), "LOT_SIZES", symbol, "a lot", base)
    step = instrument.tick_size * instrument.lot_size
    _check_whole(step.scaleb(quote.decimals), "TICK_SIZES, LOT_SIZES", symbol, "a tick times a lot", quote)
    return Listing(
        number=number,
        instrument=instrument,
        base=base,
        quote=quote,
        max_lots=_lots(settings, instrument),
        min_notional=_amount(settings.min_notional, symbol, quote, "MIN_NOTIONAL"),
        max_notional=_amount(settings.max_notional, symbol, quote, "MAX_NOTIONAL"),
        price_band=for_symbol(settings.price_band_bps, symbol),
        max_open_orders=for_symbol(settings.max_open_orders, symbol),
    )


def _check_whole(count: Decimal, variable: str, symbol: str, what: str, asset: Asset) -> None:
    if count != int(count):
        raise ConfigurationError(
            f"{variable}: {what} of {symbol} is {count.scaleb(-asset.decimals).normalize():f} {asset.name}, no whole "
            f"number of its smallest unit with {asset.decimals} decimals; take a coarser grid, more decimals "
            "(EXCHANGE_ASSETS), or leave it out of EXCHANGE_SYMBOLS"
        )


def _lots(settings: Settings, instrument: Instrument) -> int:
    quantity = for_symbol(settings.max_quantity, instrument.symbol)
    try:
        return instrument.quantities.count(quantity, name="quantity")
    except InvalidRequest as exc:
        raise ConfigurationError(f"MAX_QUANTITY of {instrument.symbol}: {exc.message}") from exc


def _amount(values: Mapping[str, Decimal], symbol: str, asset: Asset, variable: str) -> int:
    try:
        return asset.amounts.count(for_symbol(values, symbol), name=asset.name)
    except InvalidRequest as exc:
        raise ConfigurationError(f"{variable} of {symbol}: {exc.message}") from exc


# Prices and the house


def _pricing(instrument: Instrument, priced: Mapping[str, Instrument], usdt_usd: Decimal) -> Pricing | None:
    tick_size = Fraction(instrument.tick_size)
    feed = priced.get(instrument.symbol)
    if feed is not None:
        return Pricing(feed=feed.symbol, ratio=Fraction(feed.tick_size) / tick_size)
    if instrument.symbol == USDT_USD:
        return Pricing(feed=None, ratio=Fraction(usdt_usd) / tick_size)
    feed = priced.get(_in_usd(instrument.symbol))
    if feed is not None and instrument.quote == "USDT":
        return Pricing(feed=feed.symbol, ratio=Fraction(feed.tick_size) / tick_size / Fraction(usdt_usd))
    return None


def _plan(settings: Settings, listing: Listing, pricing: Mapping[str, Pricing], listed: int) -> HousePlan:
    symbol = listing.symbol
    style = cast("Style", for_symbol(settings.house_liquidity, symbol))
    if style != "off" and symbol not in pricing:
        raise ConfigurationError(
            f"EXCHANGE_SYMBOLS: nothing prices {symbol}; put it into DEFAULT_SYMBOLS, or set HOUSE_LIQUIDITY to "
            f"{symbol}=off so that only users quote it"
        )
    # A flat house shows all that it can, and each asset may be needed by one side of every instrument at once.
    most = HOUSE_FUNDS // (2 * listed) if style == "flat" else HOUSE_FUNDS // 2
    plan = HousePlan(
        style=style,
        levels=for_symbol(settings.house_levels, symbol),
        spacing=Fraction(for_symbol(settings.house_level_spacing_bps, symbol)) / BPS,
        growth=Fraction(for_symbol(settings.house_level_growth, symbol)),
        best_notional=_amount(settings.house_best_notional, symbol, listing.quote, "HOUSE_BEST_NOTIONAL"),
        most_quote=most,
        most_base=most,
        distance=_distance(settings, symbol, pricing),
    )
    if style == "levels":
        _check_levels(listing, plan)
    return plan


def _flow(settings: Settings, symbol: str, pricing: Mapping[str, Pricing]) -> FlowPlan | None:
    """Return how background traders trade an instrument, None where there are none or its price never moves."""
    intensity = for_symbol(settings.order_flow, symbol)
    if intensity == OFF:
        return None
    if symbol not in pricing:
        if symbol not in settings.order_flow:
            return None
        raise ConfigurationError(
            f"ORDER_FLOW: nothing prices {symbol}; put it into DEFAULT_SYMBOLS, or set ORDER_FLOW to {symbol}=off"
        )
    if pricing[symbol].feed is None:
        return None
    return FlowPlan(intensity=intensity, day_notional=float(for_symbol(settings.order_flow_day_notional, symbol)))


def _distance(settings: Settings, symbol: str, pricing: Mapping[str, Pricing]) -> Fraction:
    """Return how far the house stands back, as a part of the price."""
    if _flow(settings, symbol, pricing) is None:
        return Fraction(0)
    return Fraction(for_symbol(settings.order_flow_house_distance_bps, symbol)) / BPS


def _check_levels(listing: Listing, plan: HousePlan) -> None:
    """Refuse levels that the instrument's own limits would forbid."""
    symbol = listing.symbol
    if plan.best_notional > plan.most_quote:
        raise ConfigurationError(f"HOUSE_BEST_NOTIONAL of {symbol} is more than the house can have")
    if plan.best_notional < listing.min_notional:
        raise ConfigurationError(f"HOUSE_BEST_NOTIONAL of {symbol} is less than its MIN_NOTIONAL")
    if listing.max_notional and plan.best_notional > listing.max_notional:
        raise ConfigurationError(f"HOUSE_BEST_NOTIONAL of {symbol} is more than its MAX_NOTIONAL")
    if listing.max_open_orders and 2 * plan.levels > listing.max_open_orders:
        raise ConfigurationError(f"HOUSE_LEVELS of {symbol}: both sides are more orders than its MAX_OPEN_ORDERS")
    # The reference price may lag behind by a twentieth of the band, and the feed has a spread.
    farthest = plan.distance + plan.spacing * (plan.levels - 1)
    if listing.price_band and farthest * BPS * 10 > listing.price_band * 9:
        variable = "ORDER_FLOW_HOUSE_DISTANCE_BPS" if plan.distance else "HOUSE_LEVEL_SPACING_BPS"
        raise ConfigurationError(f"{variable} of {symbol}: its last level lies outside PRICE_BAND_BPS")


# Fees and funds


def _fees(settings: Settings) -> dict[int, tuple[int, int]]:
    """Return the rates of every tier; one that is not named has those of the tier below it."""
    fees: dict[int, tuple[int, int]] = {}
    maker = taker = Decimal(0)
    for tier in range(MAX_TIERS):
        maker = settings.maker_fee_bps.get(tier, maker)
        taker = settings.taker_fee_bps.get(tier, taker)
        fees[tier] = (int(maker * RATES_PER_BPS), int(taker * RATES_PER_BPS))
    return fees


def _demo_funds(settings: Settings, assets: Mapping[str, Asset]) -> dict[str, Decimal]:
    funds: dict[str, Decimal] = {}
    for name, amount in settings.demo_funds.items():
        if name not in assets:
            raise ConfigurationError(f"DEMO_FUNDS: there is no asset {name}; there are {', '.join(assets)}")
        try:
            assets[name].amounts.count(amount, name=name)
        except InvalidRequest as exc:
            raise ConfigurationError(f"DEMO_FUNDS: {exc.message}") from exc
        # Written out, because an exponent is no amount.
        funds[name] = Decimal(f"{amount:f}")
    return funds
