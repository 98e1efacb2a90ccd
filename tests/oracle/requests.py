"""What is checked before anything happens, in the order in which the reasons are numbered; the first failing wins."""

from types import SimpleNamespace

from oracle.records import Account, Instrument, Refused

SIDES = {"BUY", "SELL"}
TYPES = {"MARKET", "LIMIT", "STOP", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}
LIFETIMES = {"GTC", "IOC", "FOK", "GTD"}
SELF_TRADES = {"NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"}
STOPS = {"STOP", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}
AT_MARKET = {"MARKET", "STOP", "TAKE_PROFIT"}
"""Types that never rest."""
MOST_TICKS = 2**48 - 1
MOST_LOTS = 2**62 - 1


def first_failing(*checks: tuple[bool, str]) -> None:
    """Refuse for the first check that does not hold.

    Raises: Refused
    """
    for holds, reason in checks:
        if not holds:
            raise Refused(reason)


def check_order(order: SimpleNamespace, ts_ns: int) -> None:
    """Check the shape of a new order (reasons 106 to 115)."""
    kind, lots, lifetime = order.order_type, order.order_lots, order.time_in_force
    by_amount = kind == "MARKET" and order.quote_amount != 0
    at_once = lifetime in {"IOC", "FOK"}
    first_failing(
        (order.side in SIDES, "BAD_SIDE"),
        (kind in TYPES, "BAD_TYPE"),
        (lifetime in LIFETIMES and (at_once or kind != "MARKET"), "BAD_TIME_IN_FORCE"),
        ((0 if by_amount else 1) <= lots <= MOST_LOTS, "BAD_QUANTITY"),
        (may_carry(kind, order.side, order.price_ticks), "BAD_PRICE"),
        (0 < order.stop_ticks <= MOST_TICKS if kind in STOPS else order.stop_ticks == 0, "BAD_STOP_PRICE"),
        (0 <= order.display_lots <= lots, "BAD_DISPLAY"),
        (order.expires_ns > ts_ns if lifetime == "GTD" else order.expires_ns == 0, "BAD_EXPIRY"),
        (order.self_trade in SELF_TRADES, "BAD_COMBINATION"),
        (not order.post_only or (kind == "LIMIT" and not at_once), "BAD_COMBINATION"),
        (not order.display_lots or (kind == "LIMIT" and not at_once), "BAD_COMBINATION"),
        (not by_amount or (lots == 0 and lifetime == "IOC"), "BAD_COMBINATION"),
        (order.quote_amount > 0 if by_amount else order.quote_amount == 0, "BAD_AMOUNT"),
    )


def may_carry(kind: str, side: str, price_ticks: int) -> bool:
    """Say whether an order may have this price: a purchase at a stop must name its worst, a sale at a stop may."""
    if kind == "MARKET":
        return price_ticks == 0
    if kind in AT_MARKET and side == "SELL" and price_ticks == 0:
        return True
    return 0 < price_ticks <= MOST_TICKS


def check_risk(order: SimpleNamespace, account: Account, instrument: Instrument, open_orders: int) -> None:
    """Check what the venue allows (reasons 201 to 210)."""
    check_trading(account, instrument)
    lots, price = order.order_lots, order.price_ticks
    if instrument.unfunded:
        return
    if lots:
        first_failing(
            (lots >= instrument.min_lots, "LOTS_BELOW_MIN"), (within(lots, instrument.max_lots), "LOTS_ABOVE_MAX")
        )
    if price:
        check_price(price, instrument)
    notional = order.quote_amount or (instrument.notional(lots, price) if price else None)
    if notional is not None:
        first_failing(
            (notional >= instrument.min_notional, "NOTIONAL_BELOW_MIN"),
            (within(notional, instrument.max_notional), "NOTIONAL_ABOVE_MAX"),
        )
    if instrument.max_open_orders and open_orders >= instrument.max_open_orders:
        raise Refused("TOO_MANY_OPEN_ORDERS")


def within(value: int, most: int) -> bool:
    """Say whether a value keeps to a maximum; 0 is none."""
    return most == 0 or value <= most


def check_trading(account: Account, instrument: Instrument) -> None:
    """Check that the account and the instrument may trade now."""
    first_failing(
        (account.status != "SUSPENDED", "ACCOUNT_SUSPENDED"),
        (account.status != "CLOSED", "ACCOUNT_CLOSED"),
        (instrument.status != "HALTED", "INSTRUMENT_HALTED"),
        (instrument.status != "CANCEL_ONLY", "INSTRUMENT_CANCEL_ONLY"),
    )


def check_price(price_ticks: int, instrument: Instrument) -> None:
    """Check that a price lies in the band around the reference price."""
    reference, band = instrument.reference_ticks, instrument.band
    if band == 0 or reference == 0:
        return
    if abs(price_ticks - reference) * 10_000 > band * reference:
        raise Refused("PRICE_OUTSIDE_BAND")
