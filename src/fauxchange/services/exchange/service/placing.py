"""Turn what callers ask for into rows for the kernel: text into ticks, lots and minor units, words into numbers.

What cannot be read is refused here (4xx); what can be read and is against the venue's rules is the kernel's to refuse.
"""

from functools import lru_cache
from typing import Final

from fauxchange.contracts.exchange.messages import AmendRequest, OrderRequest
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import MAX_INT64, Grid
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import ORDER_TYPES, SELF_TRADE_PREVENTIONS, SIDES, TIMES_IN_FORCE, OrderRecord
from fauxchange.domain.times import parse_time
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_AMOUNT,
    C_DISPLAY_LOTS,
    C_EXPIRES_NS,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_STOP_TICKS,
    C_TIME_IN_FORCE,
    COMMAND_WIDTH,
)
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_AMEND,
    COMMAND_CANCEL,
    COMMAND_PLACE,
    TIME_GTC,
    TIME_GTD,
    TIME_IOC,
    TYPE_LIMIT,
    TYPE_MARKET,
    TYPE_STOP,
    TYPE_STOP_LIMIT,
    TYPE_TAKE_PROFIT,
    TYPE_TAKE_PROFIT_LIMIT,
)
from fauxchange.services.exchange.service.order_lists import Plain

_SIDES: Final = {name: number for number, name in enumerate(SIDES)}
_TYPES: Final = {name: number for number, name in enumerate(ORDER_TYPES)}
_TIMES: Final = {name: number for number, name in enumerate(TIMES_IN_FORCE)}
_PREVENTIONS: Final = {name: number for number, name in enumerate(SELF_TRADE_PREVENTIONS)}
_PRICED: Final = frozenset({TYPE_LIMIT, TYPE_STOP_LIMIT, TYPE_TAKE_PROFIT_LIMIT})
_STOPPED: Final = frozenset({TYPE_STOP, TYPE_STOP_LIMIT, TYPE_TAKE_PROFIT, TYPE_TAKE_PROFIT_LIMIT})
_LIMIT: Final = ORDER_TYPES[TYPE_LIMIT]
_UNTIL_CANCELED: Final = frozenset({None, TIMES_IN_FORCE[TIME_GTC]})
MAX_DIGITS: Final = 40

_PLACE: Final = [COMMAND_PLACE if column == C_KIND else 0 for column in range(COMMAND_WIDTH)]
_NO_NUMBER: Final = -1
_OFF_GRID: Final = -2


def count_steps(grid: Grid, text: str, name: str) -> int:
    """Return how many steps of a grid a positive decimal text is.

    Raises: InvalidRequest if it is no plain positive number, off the grid or beyond 64 bits
    """
    # One digit more than there may be, and a point: what is longer is no number and not worth keeping.
    steps = _steps(text, grid.decimals, grid.units) if len(text) <= MAX_DIGITS + 1 else _NO_NUMBER
    if 0 < steps <= MAX_INT64:
        return steps
    if steps == _NO_NUMBER:
        raise InvalidRequest(
            f"{name} {text[:MAX_DIGITS]!r} is not a plain positive number", code="invalid_number", field=name
        )
    if steps == _OFF_GRID:
        raise InvalidRequest(f"{name} {text} is not a multiple of {grid.step}", code="off_grid", field=name)
    if steps == 0:
        raise InvalidRequest(f"{name} is positive", code="out_of_range", field=name)
    raise InvalidRequest(f"{name} {text} is too large", code="out_of_range", field=name)


@lru_cache(maxsize=16_384)
def _steps(text: str, decimals: int, units: int) -> int:
    """Return how many steps a text is, or what it is instead: traders name the same prices again and again."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit() and whole and len(digits) <= MAX_DIGITS):
        return _NO_NUMBER
    if fraction[decimals:].strip("0"):
        return _OFF_GRID
    steps, rest = divmod(int(whole + fraction[:decimals].ljust(decimals, "0")), units)
    return _OFF_GRID if rest else steps


def place_row(account: int, listing: Listing, request: OrderRequest) -> list[int]:
    """Return the row of a PLACE. Raises: InvalidRequest."""
    row = _PLACE.copy()
    order_type = _number(_TYPES, request.type, "type")
    row[C_ACCOUNT] = account
    row[C_INSTRUMENT] = listing.number
    row[C_SIDE] = _number(_SIDES, request.side, "side")
    row[C_ORDER_TYPE] = order_type
    _check_fields(request, order_type)
    _fill_amounts(row, listing, request)
    if request.post_only:
        row[C_POST_ONLY] = 1
    if request.self_trade_prevention is not None:
        row[C_SELF_TRADE_PREVENTION] = _number(_PREVENTIONS, request.self_trade_prevention, "self_trade_prevention")
    if request.expires_at is not None:
        expires_ns = parse_time(request.expires_at, field="expires_at")
        if not 0 < expires_ns <= MAX_INT64:
            raise InvalidRequest("expires_at is too far away", code="out_of_range", field="expires_at")
        row[C_EXPIRES_NS] = expires_ns
    if request.time_in_force is not None:
        row[C_TIME_IN_FORCE] = _number(_TIMES, request.time_in_force, "time_in_force")
    elif order_type == TYPE_MARKET:
        row[C_TIME_IN_FORCE] = TIME_IOC
    else:
        row[C_TIME_IN_FORCE] = TIME_GTC if request.expires_at is None else TIME_GTD
    return row


def plain_order(account: int, listing: Listing, request: OrderRequest) -> Plain | None:
    """Return what a plain order asks for, None if it is none. Raises: InvalidRequest."""
    quantity, price = request.quantity, request.price
    if (
        quantity is None
        or price is None
        or request.type != _LIMIT
        or request.time_in_force not in _UNTIL_CANCELED
        or request.quote_quantity is not None
        or request.stop_price is not None
        or request.display_quantity is not None
        or request.expires_at is not None
    ):
        return None
    side, prevention = request.side, request.self_trade_prevention
    # What is wrong is told in the order in which `place_row` finds it.
    side_number = _SIDES[side] if side in _SIDES else _number(_SIDES, side, "side")
    lots = count_steps(listing.instrument.quantities, quantity, "quantity")
    ticks = count_steps(listing.instrument.prices, price, "price")
    prevention_number = 0 if prevention is None else _number(_PREVENTIONS, prevention, "self_trade_prevention")
    return (account, listing.number, side_number, 1 if request.post_only else 0, prevention_number, ticks, lots)


def _fill_amounts(row: list[int], listing: Listing, request: OrderRequest) -> None:
    instrument = listing.instrument
    quantity, quote_quantity, price, stop_price = (
        request.quantity,
        request.quote_quantity,
        request.price,
        request.stop_price,
    )
    if quantity is not None:
        row[C_ORDER_LOTS] = count_steps(instrument.quantities, quantity, "quantity")
    if quote_quantity is not None:
        row[C_AMOUNT] = count_steps(listing.quote.amounts, quote_quantity, "quote_quantity")
    if price is not None:
        row[C_PRICE_TICKS] = count_steps(instrument.prices, price, "price")
    if stop_price is not None:
        row[C_STOP_TICKS] = count_steps(instrument.prices, stop_price, "stop_price")
    if request.display_quantity is not None:
        row[C_DISPLAY_LOTS] = count_steps(instrument.quantities, request.display_quantity, "display_quantity")


def cancel_row(account: int, order_id: int) -> list[int]:
    """Return the row of a CANCEL."""
    row = [0] * COMMAND_WIDTH
    row[C_KIND], row[C_ACCOUNT], row[C_ORDER_ID] = COMMAND_CANCEL, account, order_id
    return row


def amend_row(account: int, listing: Listing, record: OrderRecord, request: AmendRequest) -> list[int]:
    """Return the row of an AMEND; what is not given stays as it is. Raises: InvalidRequest."""
    if request.price is None and request.quantity is None:
        raise InvalidRequest("give a new price, a new quantity, or both", code="missing_field", field="price")
    row = [0] * COMMAND_WIDTH
    row[C_KIND], row[C_ACCOUNT], row[C_ORDER_ID] = COMMAND_AMEND, account, record.order_id
    row[C_PRICE_TICKS], row[C_ORDER_LOTS] = record.price_ticks, record.order_lots
    if request.price is not None:
        row[C_PRICE_TICKS] = count_steps(listing.instrument.prices, request.price, "price")
    if request.quantity is not None:
        row[C_ORDER_LOTS] = count_steps(listing.instrument.quantities, request.quantity, "quantity")
    return row


def _number(numbers: dict[str, int], name: str, field: str) -> int:
    number = numbers.get(name)
    if number is None:
        raise InvalidRequest(
            f"{field} {name[:MAX_DIGITS]!r} is not one of {', '.join(numbers)}", code="invalid_choice", field=field
        )
    return number


def _check_fields(request: OrderRequest, order_type: int) -> None:
    """Refuse an order that lacks what its type needs, or has what its type has no use for."""
    if (
        order_type == TYPE_LIMIT
        and request.quantity is not None
        and request.price is not None
        and request.quote_quantity is None
        and request.stop_price is None
    ):
        # What most orders are.
        return
    if order_type == TYPE_MARKET:
        if (request.quantity is None) == (request.quote_quantity is None):
            raise InvalidRequest(
                "a market order has either quantity or quote_quantity", code="missing_field", field="quantity"
            )
        _refuse_field(request.price, "price", request.type)
    else:
        if request.quantity is None:
            raise InvalidRequest("the order has no quantity", code="missing_field", field="quantity")
        _refuse_field(request.quote_quantity, "quote_quantity", request.type)
        if request.price is None and order_type in _PRICED:
            raise InvalidRequest(f"a {request.type} order has a price", code="missing_field", field="price")
        if request.price is None and request.side == SIDES[0]:
            raise InvalidRequest(
                f"a {request.type} order that buys needs a price: the worst that it may pay, for which it reserves",
                code="missing_field",
                field="price",
            )
    if order_type in _STOPPED:
        if request.stop_price is None:
            raise InvalidRequest(f"a {request.type} order has a stop_price", code="missing_field", field="stop_price")
    else:
        _refuse_field(request.stop_price, "stop_price", request.type)


def _refuse_field(value: str | None, name: str, order_type: str) -> None:
    if value is not None:
        raise InvalidRequest(f"a {order_type} order has no {name}", code="unexpected_field", field=name)
