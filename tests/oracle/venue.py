"""The reference exchange: one method for each command."""

from types import SimpleNamespace
from typing import Any

from oracle.records import LARGEST, TRANSIT, Account, Instrument, Refused
from oracle.trading import Trading

FEE_LIMIT = 100_000
MOST_DECIMALS = 18


class ReferenceVenue(Trading):
    """An exchange that decides as the specification says, one command at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.assets: list[int] = []
        self.fees: dict[int, tuple[int, int]] = {}
        """The rates that later instruments begin with."""
        self.accounts = [Account(tier=0) for _ in range(3)]

    def apply(self, command: SimpleNamespace) -> list[dict[str, Any]]:
        """Carry out one command and return what happened, all but balances and levels."""
        self.events = []
        self.ts_ns = command.ts_ns
        self.requested = 0
        try:
            getattr(self, command.kind.lower())(command)
        except Refused as refused:
            self.events = []
            is_order = command.kind == "PLACE" or self.requested
            self.emit("ORDER_REJECTED" if is_order else "COMMAND_REJECTED", reason=refused.reason)
            self.events[0]["order_id"] = self.requested if is_order else command.order_id
        self.cascade()
        return self.events

    # Assets, accounts, instruments

    def create_asset(self, command: SimpleNamespace) -> None:
        """Add an asset."""
        if not 0 <= command.decimals <= MOST_DECIMALS:
            raise Refused("BAD_QUANTITY")
        self.assets.append(command.decimals)
        self.emit("ASSET_CREATED", asset=len(self.assets) - 1)

    def create_account(self, command: SimpleNamespace) -> None:
        """Add an account."""
        self.accounts.append(Account(tier=command.tier))
        self.emit("ACCOUNT_CREATED", account=len(self.accounts) - 1)

    def set_account_status(self, command: SimpleNamespace) -> None:
        """Suspend, close or bring back an account; only an empty one can be closed."""
        account = self.account_of(command)
        if account.status == "CLOSED":
            raise Refused("ACCOUNT_CLOSED")
        if command.status == "CLOSED":
            owned = any(account.free.values()) or any(account.held.values())
            if owned or any(order.account == command.account for order in self.orders.values()):
                raise Refused("ACCOUNT_NOT_EMPTY")
        account.status = command.status
        self.emit("ACCOUNT_CHANGED", account=command.account)

    def set_tier_fees(self, command: SimpleNamespace) -> None:
        """Set the rates of a tier, for one instrument or for all."""
        if command.instrument != -1:
            self.instrument_of(command)
        if not (0 <= command.maker_rate <= FEE_LIMIT and 0 <= command.taker_rate <= FEE_LIMIT):
            raise Refused("BAD_AMOUNT")
        chosen = self.instruments if command.instrument == -1 else [self.instruments[command.instrument]]
        for instrument in chosen:
            instrument.fees[command.tier] = (command.maker_rate, command.taker_rate)
        if command.instrument == -1:
            self.fees[command.tier] = (command.maker_rate, command.taker_rate)
        self.emit("FEES_CHANGED", instrument=command.instrument)

    def create_instrument(self, command: SimpleNamespace) -> None:
        """Add an instrument of two known assets that are not paired yet."""
        if not {command.base_asset, command.quote_asset} <= set(range(len(self.assets))):
            raise Refused("UNKNOWN_ASSET")
        pair = (command.base_asset, command.quote_asset)
        if pair[0] == pair[1]:
            raise Refused("BAD_COMBINATION")
        if pair in {(each.base_asset, each.quote_asset) for each in self.instruments}:
            raise Refused("DUPLICATE")
        names = ("base_asset", "quote_asset", "tick_value", "lot_value", "min_lots", "max_lots", "min_notional")
        names += ("max_notional", "band", "max_open_orders", "unfunded")
        instrument = Instrument(**{name: getattr(command, name) for name in names}, fees=dict(self.fees))
        self.instruments.append(instrument)
        self.emit("INSTRUMENT_CREATED", instrument=len(self.instruments) - 1)

    def set_instrument_status(self, command: SimpleNamespace) -> None:
        """Open or halt trading."""
        self.instrument_of(command).status = command.status
        self.emit("INSTRUMENT_CHANGED", instrument=command.instrument)

    def set_reference_price(self, command: SimpleNamespace) -> None:
        """Move the middle of the price band."""
        instrument = self.instrument_of(command)
        if command.price_ticks < 0:
            raise Refused("BAD_PRICE")
        instrument.reference_ticks = command.price_ticks
        self.emit("INSTRUMENT_CHANGED", instrument=command.instrument)

    def set_limits(self, command: SimpleNamespace) -> None:
        """Change the limits of an instrument."""
        instrument = self.instrument_of(command)
        for name in ("min_lots", "max_lots", "min_notional", "max_notional", "band", "max_open_orders"):
            setattr(instrument, name, getattr(command, name))
        self.emit("INSTRUMENT_CHANGED", instrument=command.instrument)

    # Money

    def deposit(self, command: SimpleNamespace) -> None:
        """Pay in, out of transit."""
        account = self.moving(command)
        if account.status == "CLOSED":
            raise Refused("ACCOUNT_CLOSED")
        transit = self.accounts[TRANSIT]
        if (
            account.free[command.asset] + command.amount > LARGEST
            or transit.free[command.asset] < command.amount - LARGEST
        ):
            raise Refused("OVERFLOW")
        transit.free[command.asset] -= command.amount
        account.free[command.asset] += command.amount

    def withdraw(self, command: SimpleNamespace) -> None:
        """Pay out what is free, into transit."""
        account = self.moving(command)
        if account.status != "ACTIVE":
            raise Refused(f"ACCOUNT_{account.status}")
        if account.free[command.asset] < command.amount:
            raise Refused("INSUFFICIENT_FUNDS")
        self.accounts[TRANSIT].free[command.asset] += command.amount
        account.free[command.asset] -= command.amount

    def moving(self, command: SimpleNamespace) -> Account:
        """Return the account of a deposit or withdrawal that makes sense."""
        account = self.account_of(command)
        if not 0 <= command.asset < len(self.assets):
            raise Refused("UNKNOWN_ASSET")
        if command.amount <= 0 or command.account == TRANSIT:
            raise Refused("BAD_AMOUNT")
        return account
