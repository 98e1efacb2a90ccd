"""Tell the kernel what the configuration lists: at the first start everything, later what has been added or changed."""

from collections.abc import Mapping, Sequence

from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.listings import Asset, Listing
from fauxchange.services.exchange.core import commands
from fauxchange.services.exchange.core.layout import Rows
from fauxchange.services.exchange.core.vocabulary import HOUSE_ACCOUNT
from fauxchange.services.exchange.service.background import BACKGROUND
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.flow import ACCOUNT_NAMES
from fauxchange.services.exchange.service.registry import LISTING_LIMITS, Registry, listing_document
from fauxchange.services.exchange.service.requests import Origin

GENESIS_ORIGIN = Origin("genesis")


def configuration_entries(
    registry: Registry,
    *,
    assets: Sequence[Asset],
    listings: Sequence[Listing],
    fees: Mapping[int, tuple[int, int]],
    house_funds: int,
) -> list[Entry]:
    """Return the commands that bring the venue from what it knows to what is configured.

    Units:  fees as maker and taker rates by tier, in 1/1,000,000; house_funds in minor units of each asset
    Raises: ConfigurationError if something was listed otherwise before: orders and balances count in its grid
    """
    entries: list[Entry] = []
    numbers = {asset.name: asset.number for asset in registry.assets}
    for asset in assets:
        if registry.has_asset(asset.name):
            _check_same(asset.name, "decimals", registry.asset(asset.name).decimals, asset.decimals)
            continue
        numbers[asset.name] = len(numbers)
        entries.append(_entry(commands.create_asset(asset.decimals), {"name": asset.name}))
        if house_funds:
            entries.append(_entry(commands.deposit(HOUSE_ACCOUNT, numbers[asset.name], house_funds)))
    for tier, (maker, taker) in sorted(fees.items()):
        if registry.fees_of(-1, tier) != (maker, taker):
            entries.append(_entry(commands.set_tier_fees(tier, maker=maker, taker=taker)))
    for listing in listings:
        limits = {name: getattr(listing, name) for name in LISTING_LIMITS}
        if not registry.has_listing(listing.symbol):
            command = commands.create_instrument(
                numbers[listing.base.name],
                numbers[listing.quote.name],
                tick_value=listing.tick_value,
                lot_value=listing.lot_value,
                **limits,
            )
            entries.append(_entry(command, listing_document(listing)))
            continue
        known = registry.listing(listing.symbol)
        _check_same(listing.symbol, "tick size", known.instrument.tick_size, listing.instrument.tick_size)
        _check_same(listing.symbol, "lot size", known.instrument.lot_size, listing.instrument.lot_size)
        if any(getattr(known, name) != limit for name, limit in limits.items()):
            entries.append(_entry(commands.set_limits(known.number, **limits)))
    return entries


def background_entries() -> list[Entry]:
    """Return the commands that create the accounts of the background order flow."""
    return [_entry(commands.create_account(), {"name": name, BACKGROUND: True}) for name in ACCOUNT_NAMES]


def _entry(command: Rows, content: dict[str, object] | None = None) -> Entry:
    return Entry(row_of(command), Note(GENESIS_ORIGIN, content=content))


def _check_same(name: str, what: str, known: object, configured: object) -> None:
    if known != configured:
        raise ConfigurationError(
            f"{name} was listed with {what} {known} in this data folder and is configured with {configured}; orders "
            "and balances count in the old one: set it back, or use --data-dir for another folder"
        )
