"""Follow who and what there is: accounts, keys, assets, instruments, fees."""

import copy
from collections.abc import Callable

from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import AccountRecord, KeyRecord
from fauxchange.services.exchange.core.layout import (
    C_DECIMALS,
    C_INSTRUMENT,
    C_KIND,
    C_MAKER_FEE_RATE,
    C_STATUS,
    C_TAKER_FEE_RATE,
    C_TIER,
    COMMAND_COLUMNS,
    E_ACCOUNT,
    E_INSTRUMENT,
    E_TS_NS,
)
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CREATE_INSTRUMENT,
    COMMAND_SET_ACCOUNT_STATUS,
    COMMAND_SET_INSTRUMENT_STATUS,
    COMMAND_SET_LIMITS,
)
from fauxchange.services.exchange.service.entries import Entry
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.registry import LISTING_LIMITS, Registry

_LIMIT_COLUMNS = {name: COMMAND_COLUMNS[name] for name in LISTING_LIMITS}


class Catalogue:
    """Keep registry and read models at what the kernel has made of administrative commands.

    `opened` is told of an instrument that is new, `reopened` of one whose status has changed.
    """

    def __init__(
        self,
        registry: Registry,
        projector: Projector,
        *,
        opened: Callable[[Listing], None],
        reopened: Callable[[Listing], None],
    ) -> None:
        self._registry = registry
        self._projector = projector
        self._opened = opened
        self._reopened = reopened

    def account_created(self, event: list[int], entry: Entry) -> None:
        """Take note of a new account."""
        content = entry.note.content or {}
        record = AccountRecord(
            account=event[E_ACCOUNT],
            name=str(content.get("name", f"account {event[E_ACCOUNT]}")),
            tier=entry.row[C_TIER],
            status=0,
            created_ns=event[E_TS_NS],
            updated_ns=event[E_TS_NS],
        )
        entry.result = record
        self._registry.background.follow(entry, (event,))
        self._put_account(record)

    def account_changed(self, event: list[int], entry: Entry) -> None:
        """Take note of an account's status."""
        if entry.row[C_KIND] != COMMAND_SET_ACCOUNT_STATUS:
            return
        record = copy.copy(self._registry.accounts[event[E_ACCOUNT]])
        record.status, record.updated_ns = entry.row[C_STATUS], event[E_TS_NS]
        entry.result = record
        self._put_account(record)

    def _put_account(self, record: AccountRecord) -> None:
        self._registry.put_account(record)
        self._projector.accounts[record.account] = record

    def asset_created(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        """Take note of a new asset."""
        self._registry.add_asset(str((entry.note.content or {})["name"]), entry.row[C_DECIMALS])

    def instrument_created(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        """Take note of a new instrument."""
        self._opened(self._registry.add_listing(entry.note.content or {}))

    def instrument_changed(self, event: list[int], entry: Entry) -> None:
        """Take note of an instrument's status or limits."""
        listing = self._registry.listings[event[E_INSTRUMENT]]
        entry.result = listing
        kind = entry.row[C_KIND]
        if kind == COMMAND_SET_INSTRUMENT_STATUS:
            self._registry.set_status(listing, entry.row[C_STATUS])
            # The house looks again: while trading was halted its changes were refused.
            self._reopened(listing)
        elif kind in {COMMAND_SET_LIMITS, COMMAND_CREATE_INSTRUMENT}:
            for name, column in _LIMIT_COLUMNS.items():
                setattr(listing, name, entry.row[column])

    def fees_changed(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        """Take note of fees."""
        row = entry.row
        self._registry.set_fees(row[C_INSTRUMENT], row[C_TIER], row[C_MAKER_FEE_RATE], row[C_TAKER_FEE_RATE])

    def noted(self, entry: Entry) -> None:
        """Take note of what only the service reads: keys."""
        content = entry.note.content or {}
        match content.get("type"):
            case "key_created":
                record = KeyRecord(
                    api_key=content["api_key"],
                    account=content["account"],
                    label=content["label"],
                    encrypted_secret=content["encrypted_secret"],
                    created_ns=entry.ts_ns,
                )
            case "key_revoked":
                known = self._registry.find(content["api_key"])
                if known is None or known.revoked_ns:
                    return
                record = copy.copy(known)
                record.revoked_ns = entry.ts_ns
            case _:
                return
        entry.result = record
        self._registry.put_key(record)
        self._projector.keys[record.api_key] = record
