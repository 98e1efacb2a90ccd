"""Accounts, money and keys: what administrators do."""

import hashlib
from collections.abc import Callable
from typing import Any

from fauxchange.contracts.exchange.messages import AccountRequest, KeyRequest, TransferRequest
from fauxchange.contracts.exchange.refusals import refusal
from fauxchange.domain.errors import (
    Conflict,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    InvariantViolation,
    NotFound,
    Rejected,
)
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import AccountRecord, KeyRecord
from fauxchange.services.exchange.core import commands
from fauxchange.services.exchange.core.vocabulary import AccountStatus, RejectReason
from fauxchange.services.exchange.service.entries import Entry, Note, row_of
from fauxchange.services.exchange.service.placing import count_steps
from fauxchange.services.exchange.service.registry import VENUE_ACCOUNTS
from fauxchange.services.exchange.service.requests import Origin, Transfer
from fauxchange.services.exchange.service.use_cases import UseCases

MAX_KEYS = 100
"""How many keys that are not revoked an account may have."""
MAX_IDEMPOTENCY_KEY = 255

NewKey = Callable[[], tuple[str, str, str]]
"""Make an API key: the key, its secret, and the secret encrypted."""


class Administration(UseCases):
    """What administrators do."""

    new_key: NewKey

    # Accounts

    async def create_account(
        self, request: AccountRequest, origin: Origin, idempotency_key: str | None = None
    ) -> AccountRecord:
        """Create an account. Raises: Conflict (the key was used for another request), Unavailable."""
        row = row_of(commands.create_account(request.tier))
        note = Note(origin, idempotency_key=idempotency_key, content={"name": request.name})
        known = self._known(idempotency_key, f"account|{request.name}|{request.tier}", note)
        if known is not None:
            return self.registry.account(known["account"])
        entry = await self._carry_out_once(row, note)
        record: AccountRecord = entry.result
        return record

    def account(self, account_id: str) -> AccountRecord:
        """Return an account. Raises: NotFound."""
        return self.registry.account(account_id)

    async def set_account_status(self, account_id: str, status: int, origin: Origin) -> AccountRecord:
        """Activate, suspend or close an account. Raises: NotFound, Forbidden, Rejected, Unavailable."""
        record = self._users_account(account_id)
        if record.status == status:
            return record
        entry = await self.carry_out(row_of(commands.set_account_status(record.account, status)), Note(origin))
        changed: AccountRecord = entry.result
        return changed

    # Money

    async def deposit(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Credit an account. Raises: NotFound, InvalidRequest, Forbidden, Conflict, Rejected, Unavailable."""
        return await self._transfer("deposit", account_id, request, origin, idempotency_key)

    async def withdraw(
        self, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None = None
    ) -> Transfer:
        """Debit what an account has free. Raises: as `deposit`."""
        return await self._transfer("withdrawal", account_id, request, origin, idempotency_key)

    async def _transfer(
        self, kind: str, account_id: str, request: TransferRequest, origin: Origin, idempotency_key: str | None
    ) -> Transfer:
        account = self._users_account(account_id).account
        asset = self.registry.asset(request.asset)
        amount = count_steps(asset.amounts, request.amount, "amount")
        note = Note(origin, idempotency_key=idempotency_key)
        known = self._known(idempotency_key, f"{kind}|{account}|{asset.name}|{amount}", note)
        if known is not None:
            return Transfer(**known["transfer"])
        build = commands.deposit if kind == "deposit" else commands.withdraw
        entry = await self._carry_out_once(row_of(build(account, asset.number, amount)), note)
        transfer = entry.result
        if not isinstance(transfer, Transfer):
            raise InvariantViolation(f"command {entry.sequence} moved no money and was not refused")
        return transfer

    # Keys

    async def create_key(self, account_id: str, request: KeyRequest, origin: Origin) -> tuple[KeyRecord, str]:
        """Make an API key of an account; return it with its secret, which is told this once.

        Raises: NotFound, Forbidden, Conflict, Unavailable
        """
        account = self._users_account(account_id)
        if account.status == AccountStatus.CLOSED:
            code, detail = refusal(RejectReason.ACCOUNT_CLOSED)
            raise Rejected(detail, code=code, reason=RejectReason.ACCOUNT_CLOSED.value)
        if sum(not key.revoked_ns for key in self.registry.keys_of(account.account)) >= MAX_KEYS:
            raise Conflict(f"an account has at most {MAX_KEYS} keys; revoke one", code="too_many_keys")
        api_key, secret, encrypted = self.new_key()
        content = {
            "type": "key_created",
            "api_key": api_key,
            "account": account.account,
            "label": request.label,
            "encrypted_secret": encrypted,
        }
        entry = await self.carry_out(row_of(commands.note()), Note(origin, content=content))
        return entry.result, secret

    def keys(self, account_id: str) -> list[KeyRecord]:
        """Return all API keys of an account, oldest first. Raises: NotFound."""
        return list(self.registry.keys_of(self.registry.account(account_id).account))

    async def revoke_key(self, account_id: str, api_key: str, origin: Origin) -> KeyRecord:
        """Revoke an API key, at once; one that is revoked already stays so. Raises: NotFound, Unavailable."""
        account = self.registry.account(account_id)
        record = self.registry.find(api_key)
        if record is None or record.account != account.account:
            raise NotFound(f"account {account_id} has no key {api_key!r}", code="unknown_key", field="api_key")
        if record.revoked_ns:
            return record
        entry = await self.carry_out(
            row_of(commands.note()), Note(origin, content={"type": "key_revoked", "api_key": api_key})
        )
        revoked: KeyRecord = record if entry.result is None else entry.result
        return revoked

    # Instruments

    async def set_instrument_status(self, symbol: str, status: int, origin: Origin) -> Listing:
        """Open or halt an instrument, or let it only cancel. Raises: NotFound, Rejected, Unavailable."""
        listing = self.registry.listing(symbol)
        if listing.status != status:
            await self.carry_out(row_of(commands.set_instrument_status(listing.number, status)), Note(origin))
        return listing

    # What is common

    async def _carry_out_once(self, row: list[int], note: Note) -> Entry:
        """Carry out a command under its idempotency key, which is free again if the command was not taken."""
        try:
            return await self.carry_out(row, note)
        except FauxchangeError:
            if note.idempotency_key is not None:
                self.venue.idempotent.under_way.discard(note.idempotency_key)
            raise

    def _users_account(self, account_id: str) -> AccountRecord:
        for number, name in VENUE_ACCOUNTS.items():
            if account_id == str(number):
                raise Forbidden(f"account {account_id} is the venue's own ({name})", code="venue_account")
        record = self.registry.account(account_id)
        if record.account in self.registry.background:
            raise Forbidden(f"account {account_id} is the venue's own ({record.name})", code="venue_account")
        return record

    def _known(self, key: str | None, asked: str, note: Note) -> dict[str, Any] | None:
        """Return what came of an earlier request with the same key, or note what is asked now.

        Raises: InvalidRequest; Conflict if the key stands for another request
        """
        if key is None:
            return None
        if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
            raise InvalidRequest(
                f"an Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters",
                code="invalid_idempotency_key",
                field="Idempotency-Key",
            )
        digest = hashlib.blake2b(asked.encode(), digest_size=8).digest()
        fingerprint = int.from_bytes(digest, "little") >> 1
        known = self.venue.idempotent.find(key, self.clock.now_ns())
        if known is None:
            if key in self.venue.idempotent.under_way:
                raise Conflict(
                    "a request with this Idempotency-Key is under way; repeat it when that is answered",
                    code="idempotency_key_in_use",
                    field="Idempotency-Key",
                )
            self.venue.idempotent.under_way.add(key)
            note.fingerprint = fingerprint
            return None
        if known["fingerprint"] != fingerprint:
            raise Conflict(
                "this Idempotency-Key was used for another request in the last 24 hours",
                code="idempotency_key_reused",
                field="Idempotency-Key",
            )
        return known
