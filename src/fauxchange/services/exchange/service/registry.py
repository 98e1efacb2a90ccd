"""Who and what there is: assets, instruments, accounts, API keys, by their numbers and their names."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from fauxchange.domain.errors import NotFound, check
from fauxchange.domain.instruments import Instrument, parse_symbol
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import AccountRecord, KeyRecord
from fauxchange.services.exchange.core.vocabulary import FEE_ACCOUNT, HOUSE_ACCOUNT, TRANSIT_ACCOUNT
from fauxchange.services.exchange.service.background import BACKGROUND, BackgroundAccounts

VENUE_ACCOUNTS = {FEE_ACCOUNT: "fees", HOUSE_ACCOUNT: "house", TRANSIT_ACCOUNT: "transit"}
MAX_ACCOUNT_DIGITS = 18
MAX_SPELLINGS = 1_024
"""So many ways in which callers write symbols are remembered."""


class RegistryWatcher(Protocol):
    """Somebody who keeps a copy of a registry."""

    def account_put(self, record: AccountRecord) -> None:
        """Take note of an account as it is now."""
        ...

    def key_put(self, record: KeyRecord) -> None:
        """Take note of an API key as it is now."""
        ...

    def status_set(self, listing: Listing) -> None:
        """Take note of an instrument's status."""
        ...


class Registry:
    """What the exchange knows by name; the kernel knows it by number."""

    def __init__(self) -> None:
        self.assets: list[Asset] = []
        self.asset_names: list[str] = []
        self.listings: list[Listing] = []
        self.symbols: list[str] = []
        self.accounts: dict[int, AccountRecord] = {}
        self.background = BackgroundAccounts()
        self._assets_by_name: dict[str, Asset] = {}
        self._listings_by_symbol: dict[str, Listing] = {}
        self._listings_as_spelled: dict[str, Listing] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._keys_of: dict[int, list[KeyRecord]] = {}
        self.watchers: dict[RegistryWatcher, None] = {}
        """Who is told of accounts, keys and statuses as they change."""
        self.fees: dict[tuple[int, int], tuple[int, int]] = {}
        """Maker and taker rates by instrument (-1: those to come) and tier. Units: 1/1,000,000"""

    def set_status(self, listing: Listing, status: int) -> None:
        """Open an instrument, halt it, or let its orders only be canceled."""
        listing.status = status
        for watcher in self.watchers:
            watcher.status_set(listing)

    # Assets and instruments

    def add_asset(self, name: str, decimals: int) -> Asset:
        """Add the next asset."""
        check(name not in self._assets_by_name, f"{name} is an asset already")
        asset = Asset(number=len(self.assets), name=name, decimals=decimals)
        self.assets.append(asset)
        self.asset_names.append(name)
        self._assets_by_name[name] = asset
        return asset

    def add_listing(self, document: Mapping[str, Any]) -> Listing:
        """Add the next instrument from the document that was journalled with it."""
        listing = Listing(
            number=len(self.listings),
            instrument=Instrument(
                symbol=document["symbol"],
                tick_size=Decimal(document["tick_size"]),
                lot_size=Decimal(document["lot_size"]),
            ),
            base=self._assets_by_name[document["base"]],
            quote=self._assets_by_name[document["quote"]],
            **{name: document[name] for name in LISTING_LIMITS},
        )
        listing.status = document.get("status", 0)
        self.listings.append(listing)
        self.symbols.append(listing.symbol)
        self._listings_by_symbol[listing.symbol] = listing
        for tier in {tier for _, tier in self.fees}:
            self.fees[listing.number, tier] = self.fees[-1, tier]
        return listing

    def set_fees(self, instrument: int, tier: int, maker: int, taker: int) -> None:
        """Set the rates of a tier, for one instrument or (-1) for all, those to come included."""
        if instrument == -1:
            for listing in self.listings:
                self.fees[listing.number, tier] = (maker, taker)
        self.fees[instrument, tier] = (maker, taker)

    def fees_of(self, instrument: int, tier: int) -> tuple[int, int]:
        """Return maker and taker rates; those that were never set are 0."""
        return self.fees.get((instrument, tier), (0, 0))

    def asset(self, name: str) -> Asset:
        """Return an asset by its name. Raises: NotFound."""
        asset = self._assets_by_name.get(name)
        if asset is None:
            known = ", ".join(self._assets_by_name)
            raise NotFound(f"{name!r} is not an asset here; there are {known}", code="unknown_asset", field="asset")
        return asset

    def listing(self, symbol: str) -> Listing:
        """Return an instrument by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        listing = self._listings_by_symbol.get(symbol) or self._listings_as_spelled.get(symbol)
        if listing is None:
            canonical = parse_symbol(symbol)
            listing = self._listings_by_symbol.get(canonical)
            if listing is None:
                raise _unknown_symbol(canonical, self._listings_by_symbol)
            if len(self._listings_as_spelled) < MAX_SPELLINGS:
                self._listings_as_spelled[symbol] = listing
        return listing

    def has_listing(self, symbol: str) -> bool:
        """Say whether a canonical symbol is traded."""
        return symbol in self._listings_by_symbol

    def has_asset(self, name: str) -> bool:
        """Say whether there is an asset of this name."""
        return name in self._assets_by_name

    # Accounts and keys

    def put_account(self, record: AccountRecord) -> None:
        """Add an account, or replace its record."""
        self.accounts[record.account] = record
        for watcher in self.watchers:
            watcher.account_put(record)

    def account(self, account_id: str) -> AccountRecord:
        """Return an account by its id. Raises: NotFound."""
        record = None
        if account_id.isascii() and account_id.isdigit() and len(account_id) <= MAX_ACCOUNT_DIGITS:
            record = self.accounts.get(int(account_id))
        if record is None or str(record.account) != account_id:
            raise NotFound(f"there is no account {account_id!r}", code="unknown_account", field="account_id")
        return record

    def put_key(self, record: KeyRecord) -> None:
        """Add an API key, or replace its record."""
        if record.api_key in self._keys:
            self._keys_of[record.account] = [
                record if key.api_key == record.api_key else key for key in self._keys_of[record.account]
            ]
        else:
            self._keys_of.setdefault(record.account, []).append(record)
        self._keys[record.api_key] = record
        for watcher in self.watchers:
            watcher.key_put(record)

    def find(self, api_key: str) -> KeyRecord | None:
        """Return an API key's record, a revoked one's too."""
        return self._keys.get(api_key)

    def keys_of(self, account: int) -> Sequence[KeyRecord]:
        """Return the API keys of an account, oldest first."""
        return tuple(self._keys_of.get(account, ()))

    # What a restart goes on from

    def document(self) -> dict[str, Any]:
        """Return assets, instruments and fees as JSON, for `restore`."""
        return {
            "assets": [[asset.name, asset.decimals] for asset in self.assets],
            "listings": [{**listing_document(listing), "status": listing.status} for listing in self.listings],
            "fees": [[*key, *rates] for key, rates in sorted(self.fees.items())],
            BACKGROUND: list(self.background.numbers),
        }

    def restore(
        self, document: Mapping[str, Any], accounts: Iterable[AccountRecord], keys: Iterable[KeyRecord]
    ) -> None:
        """Take up what an earlier run has stored."""
        for name, decimals in document.get("assets", ()):
            self.add_asset(name, decimals)
        for listing in document.get("listings", ()):
            self.add_listing(listing)
        self.fees = {(row[0], row[1]): (row[2], row[3]) for row in document.get("fees", ())}
        self.background.restore(document.get(BACKGROUND, ()))
        for account in accounts:
            self.put_account(account)
        for key in keys:
            self.put_key(key)


LISTING_LIMITS = ("min_lots", "max_lots", "min_notional", "max_notional", "price_band", "max_open_orders")


def listing_document(listing: Listing) -> dict[str, Any]:
    """Return what is journalled with the command that creates an instrument."""
    return {
        "symbol": listing.symbol,
        "tick_size": str(listing.instrument.tick_size),
        "lot_size": str(listing.instrument.lot_size),
        "base": listing.base.name,
        "quote": listing.quote.name,
        **{name: getattr(listing, name) for name in LISTING_LIMITS},
    }


def _unknown_symbol(symbol: str, known: Iterable[str]) -> NotFound:
    names = sorted(known)
    close = difflib.get_close_matches(symbol, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
    return NotFound(f"{symbol} is not traded here{hint}", code="unknown_symbol", field="symbol")
