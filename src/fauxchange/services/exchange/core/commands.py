"""Builders of command rows: one function for each kind, with names for what the kind needs.

Each returns an array of one row without sequence number and time (0); `engine.stamp` joins rows and gives them both.
"""

import numpy as np

from fauxchange.services.exchange.core.layout import COMMAND, Rows
from fauxchange.services.exchange.core.vocabulary import ALL_INSTRUMENTS, CommandKind, OrderType, TimeInForce


def _row(kind: CommandKind, **fields: int) -> Rows:
    row = np.zeros(1, dtype=COMMAND)
    row["kind"] = kind
    for name, value in fields.items():
        row[name] = value
    return row


def create_asset(decimals: int = 8) -> Rows:
    """Ask for the next asset."""
    return _row(CommandKind.CREATE_ASSET, decimals=decimals)


def create_account(tier: int = 0) -> Rows:
    """Ask for the next account."""
    return _row(CommandKind.CREATE_ACCOUNT, tier=tier)


def set_account_status(account: int, status: int) -> Rows:
    """Activate, suspend or close an account."""
    return _row(CommandKind.SET_ACCOUNT_STATUS, account=account, status=status)


def set_tier_fees(tier: int, *, maker: int, taker: int, instrument: int = ALL_INSTRUMENTS) -> Rows:
    """Set the fees of a tier, for all instruments (later ones too) or for one. Units: 1/1,000,000 of the notional."""
    return _row(CommandKind.SET_TIER_FEES, tier=tier, instrument=instrument, maker_fee_rate=maker, taker_fee_rate=taker)


def create_instrument(
    base_asset: int,
    quote_asset: int,
    *,
    tick_value: int = 1,
    lot_value: int = 1,
    min_lots: int = 1,
    max_lots: int = 0,
    min_notional: int = 0,
    max_notional: int = 0,
    price_band: int = 0,
    max_open_orders: int = 0,
    unfunded: bool = False,
) -> Rows:
    """Ask for the next instrument; a limit of 0 is none.

    Units: tick_value in minor units of the quote asset for one tick times one lot; lot_value in minor units of the base
           asset for one lot; notionals in minor units of the quote asset; price_band in 1/10,000
    """
    return _row(
        CommandKind.CREATE_INSTRUMENT,
        base_asset=base_asset,
        quote_asset=quote_asset,
        tick_value=tick_value,
        lot_value=lot_value,
        min_lots=min_lots,
        max_lots=max_lots,
        min_notional=min_notional,
        max_notional=max_notional,
        price_band=price_band,
        max_open_orders=max_open_orders,
        unfunded=unfunded,
    )


def set_instrument_status(instrument: int, status: int) -> Rows:
    """Open or halt an instrument, or let it only cancel."""
    return _row(CommandKind.SET_INSTRUMENT_STATUS, instrument=instrument, status=status)


def set_reference_price(instrument: int, price_ticks: int) -> Rows:
    """Set the price that the price band lies around; 0 is none."""
    return _row(CommandKind.SET_REFERENCE_PRICE, instrument=instrument, price_ticks=price_ticks)


def set_limits(
    instrument: int,
    *,
    min_lots: int = 1,
    max_lots: int = 0,
    min_notional: int = 0,
    max_notional: int = 0,
    price_band: int = 0,
    max_open_orders: int = 0,
) -> Rows:
    """Set all risk limits of an instrument; 0 is none."""
    return _row(
        CommandKind.SET_LIMITS,
        instrument=instrument,
        min_lots=min_lots,
        max_lots=max_lots,
        min_notional=min_notional,
        max_notional=max_notional,
        price_band=price_band,
        max_open_orders=max_open_orders,
    )


def deposit(account: int, asset: int, amount: int) -> Rows:
    """Credit an account from transit."""
    return _row(CommandKind.DEPOSIT, account=account, asset=asset, amount=amount)


def withdraw(account: int, asset: int, amount: int) -> Rows:
    """Debit an account's free balance to transit."""
    return _row(CommandKind.WITHDRAW, account=account, asset=asset, amount=amount)


def place(
    account: int,
    instrument: int,
    side: int,
    *,
    price_ticks: int = 0,
    order_lots: int = 0,
    amount: int = 0,
    order_type: int = OrderType.LIMIT,
    time_in_force: int = TimeInForce.GTC,
    stop_ticks: int = 0,
    display_lots: int = 0,
    post_only: bool = False,
    expires_ns: int = 0,
    self_trade_prevention: int = 0,
    refused: bool = False,
) -> Rows:
    """Place an order; `amount` is the quote amount of a market order that names no lots.

    One that is `refused` was refused by a user's own check before it came here: it is rejected where it would pass.
    """
    return _row(
        CommandKind.PLACE,
        account=account,
        instrument=instrument,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        post_only=post_only,
        self_trade_prevention=self_trade_prevention,
        price_ticks=price_ticks,
        stop_ticks=stop_ticks,
        order_lots=order_lots,
        display_lots=display_lots,
        amount=amount,
        expires_ns=expires_ns,
        refused=refused,
    )


def cancel(account: int, order_id: int) -> Rows:
    """Cancel an order."""
    return _row(CommandKind.CANCEL, account=account, order_id=order_id)


def cancel_all(account: int, instrument: int = ALL_INSTRUMENTS) -> Rows:
    """Cancel all orders of an account, or those of one instrument."""
    return _row(CommandKind.CANCEL_ALL, account=account, instrument=instrument)


def amend(account: int, order_id: int, *, price_ticks: int, order_lots: int) -> Rows:
    """Give an order a new price and a new total of lots."""
    return _row(CommandKind.AMEND, account=account, order_id=order_id, price_ticks=price_ticks, order_lots=order_lots)


def replace_in_place(account: int, order_id: int, *, price_ticks: int, order_lots: int) -> Rows:
    """Take an order out and enter it again under its id, at the back of the queue."""
    return _row(
        CommandKind.REPLACE_IN_PLACE, account=account, order_id=order_id, price_ticks=price_ticks, order_lots=order_lots
    )


def cancel_replace(order_id: int, new: Rows) -> Rows:
    """Cancel an order and enter `new`, as made by `place`: both or neither."""
    row = new.copy()
    row["kind"] = CommandKind.CANCEL_REPLACE
    row["order_id"] = order_id
    return row


def expire() -> Rows:
    """Expire all orders that are due by the command's time."""
    return _row(CommandKind.EXPIRE)


def note() -> Rows:
    """Take a sequence number and a time, and do nothing: for what only the journal keeps."""
    return _row(CommandKind.NOTE)
