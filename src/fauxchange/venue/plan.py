"""What a process is started from, read and checked before anything starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.recorded_books import is_recorded_book
from fauxchange.platform.settings import Settings
from fauxchange.services.configuration.app import ConfigurationFile, read_configuration_file
from fauxchange.services.exchange.app.config import ExchangeConfig
from fauxchange.services.exchange.app.config import read_config as read_exchange_config
from fauxchange.services.exchange.app.wiring import DemoCredentials
from fauxchange.services.exchange.service.recovery import Progress as Recovering
from fauxchange.services.market_data.app import (
    MarketDataConfig,
    Sources,
    check_scenarios,
    read_config,
    read_scenario_file,
    read_sources,
)
from fauxchange.services.market_data.app.sources import Progress, served
from fauxchange.services.market_data.core.feed_parameters import FEED_SCHEMA
from fauxchange.services.market_data.core.scenarios import ScenarioSpec
from fauxchange.services.market_data.ports import PriceSource
from fauxchange.venue.services import SERVICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a running process can be reached, and what runs in it.

    `new_demo` is the demo account if it was made just now.
    """

    http: str
    grpc: str
    audit: str | None
    ready_file: Path
    services: tuple[str, ...] = tuple(SERVICES)
    new_demo: DemoCredentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What market data is started from."""

    config: MarketDataConfig
    sources: Sources
    scenarios: tuple[ScenarioSpec, ...] = ()
    extra_sources: tuple[PriceSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A process that can start: settings checked, files read. What is None runs elsewhere."""

    settings: Settings
    services: tuple[str, ...]
    feed: Feed | None = None
    exchange: ExchangeConfig | None = None
    configuration: ConfigurationFile | None = None
    announce: Callable[[Addresses], None] | None = None
    recovering: Recovering | None = None


def prepare(
    settings: Settings,
    *,
    progress: Progress | None = None,
    services: Sequence[str] = tuple(SERVICES),
    extra_sources: Sequence[PriceSource] = (),
    announce: Callable[[Addresses], None] | None = None,
    recovering: Recovering | None = None,
) -> Plan:
    """Read and check everything that a process is started from; `recovering` is told how far a recovery is.

    Raises: ConfigurationError that names what is bad; nothing has started then
    """
    feed = _feed(settings, extra_sources, progress) if "market-data" in services else None
    exchange = None
    if "exchange" in services:
        if feed is None:
            _check_wall_time(settings)
            _check_prices(settings)
            _check_books(settings)
            exchange = read_exchange_config(settings)
        else:
            given = [feed.sources.instruments, *(source.instruments for source in feed.extra_sources)]
            exchange = read_exchange_config(settings, served(given, feed.config.symbols))
    return Plan(
        settings=settings,
        services=tuple(services),
        feed=feed,
        exchange=exchange,
        configuration=_configuration_file(settings) if "configuration" in services else None,
        announce=announce,
        recovering=recovering,
    )


def _feed(settings: Settings, extra_sources: Sequence[PriceSource], progress: Progress | None) -> Feed:
    config = read_config(settings)
    sources = read_sources(config, progress)
    scenarios = () if config.scenario_file is None else read_scenario_file(config.scenario_file)
    check_scenarios(scenarios, sources)
    return Feed(config=config, sources=sources, scenarios=tuple(scenarios), extra_sources=tuple(extra_sources))


def _check_wall_time(settings: Settings) -> None:
    """Refuse a clock of its own to an exchange whose prices are made by another: the two would drift apart."""
    if settings.virtual_time:
        raise ConfigurationError(
            "an exchange apart from market-data runs on wall time, because each would have a virtual clock of its own; "
            "leave SPEED and START_TIME out, or run both in one process with `fauxchange up`",
            field="SPEED",
        )


def _check_prices(settings: Settings) -> None:
    """Refuse to follow price streams that nobody could publish to."""
    if settings.prices_from == "redis" and settings.redis_url is None:
        raise ConfigurationError(
            "the price streams are in Redis: set REDIS_URL as market-data has it, or leave PRICES_FROM out to hear "
            "prices over gRPC",
            field="PRICES_FROM",
        )


def _check_books(settings: Settings) -> None:
    """Refuse to replay a book into an exchange that its feed could not go in step with."""
    for replay in settings.replay:
        if is_recorded_book(replay.path):
            raise ConfigurationError(
                f"{replay.path} is a recorded order book, which an exchange shows only beside the feed that replays "
                "it; run both in one process with `fauxchange up`, or leave it out of REPLAY here: the house then "
                "quotes around the feed's prices",
                field="REPLAY",
            )


def _configuration_file(settings: Settings) -> ConfigurationFile:
    """Return schemas and first values. Raises: ConfigurationError."""
    known = {FEED_SCHEMA.service: FEED_SCHEMA}
    path = settings.configuration_file
    if path is None:
        return ConfigurationFile(known, ())
    return read_configuration_file(path, environment=settings.environment, known=known)
