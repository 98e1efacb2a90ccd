"""Build the market-data service alone, from concrete adapters."""

from fauxchange.services.market_data.app.config import MarketDataConfig, read_config
from fauxchange.services.market_data.app.scenarios import check_scenarios, read_scenario_file
from fauxchange.services.market_data.app.sources import Sources, read_sources
from fauxchange.services.market_data.app.wiring import MarketData, build_market_data, stored_venue_ns

__all__ = [
    "MarketData",
    "MarketDataConfig",
    "Sources",
    "build_market_data",
    "check_scenarios",
    "read_config",
    "read_scenario_file",
    "read_sources",
    "stored_venue_ns",
]
