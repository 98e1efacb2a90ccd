"""Every reason of a refusal or an end, provoked once; and which of several faults is the one that is told."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, stamp
from fauxchange.services.exchange.core.layout import Rows
from fauxchange.services.exchange.core.vocabulary import (
    AccountStatus,
    EventKind,
    InstrumentStatus,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

ALICE, BOB, SUSPENDED, CLOSED, BUSY, POOR = range(3, 9)
LIMITED, HALTED, CANCEL_ONLY, FREE = range(4)
LIMITS = {"min_lots": 2, "max_lots": 50, "min_notional": 301, "max_notional": 4_000, "price_band": 1_000}
NOW_NS = 1_000
IOC = {"order_type": OrderType.MARKET, "price_ticks": 0, "time_in_force": TimeInForce.IOC}


def world() -> list[Rows]:
    """An offer of 5 at 100 (order 1) and one order that BUSY may have open (2), where no fault is anybody's."""
    return [
        *(ask.create_asset() for _ in range(4)),
        *(ask.create_account() for _ in range(6)),
        ask.create_instrument(0, 1, max_open_orders=1, **LIMITS),
        ask.create_instrument(2, 1),
        ask.create_instrument(3, 1),
        ask.create_instrument(2, 0),
        ask.set_reference_price(LIMITED, 100),
        ask.set_instrument_status(HALTED, InstrumentStatus.HALTED),
        ask.set_instrument_status(CANCEL_ONLY, InstrumentStatus.CANCEL_ONLY),
        *(ask.deposit(account, asset, 10_000) for account in (ALICE, BOB, BUSY) for asset in range(4)),
        ask.deposit(POOR, 1, 10),
        ask.set_account_status(SUSPENDED, AccountStatus.SUSPENDED),
        ask.set_account_status(CLOSED, AccountStatus.CLOSED),
        ask.place(ALICE, LIMITED, Side.SELL, price_ticks=100, order_lots=5),
        ask.place(BUSY, LIMITED, Side.BUY, price_ticks=95, order_lots=5),
    ]


def order(**fields: int) -> Rows:
    """An order of BOB's that is accepted as it is, but for `fields`."""
    good = {"account": BOB, "instrument": LIMITED, "side": Side.BUY, "price_ticks": 99, "order_lots": 5}
    return ask.place(**(good | fields))


FAULTS: dict[RejectReason, dict[str, int]] = {
    RejectReason.UNKNOWN_ACCOUNT: {"account": 99},
    RejectReason.UNKNOWN_INSTRUMENT: {"instrument": 9},
    RejectReason.BAD_SIDE: {"side": 2},
    RejectReason.BAD_TYPE: {"order_type": 6},
    RejectReason.BAD_TIME_IN_FORCE: {"time_in_force": 4},
    RejectReason.BAD_QUANTITY: {"order_lots": 0},
    RejectReason.BAD_PRICE: {"price_ticks": 0},
    RejectReason.BAD_STOP_PRICE: {"stop_ticks": 5},
    RejectReason.BAD_DISPLAY: {"display_lots": -1},
    RejectReason.BAD_EXPIRY: {"expires_ns": NOW_NS},
    RejectReason.BAD_COMBINATION: {"self_trade_prevention": 4},
    RejectReason.BAD_AMOUNT: {"amount": 7},
    RejectReason.ACCOUNT_SUSPENDED: {"account": SUSPENDED},
    RejectReason.ACCOUNT_CLOSED: {"account": CLOSED},
    RejectReason.INSTRUMENT_HALTED: {"instrument": HALTED},
    RejectReason.INSTRUMENT_CANCEL_ONLY: {"instrument": CANCEL_ONLY},
    RejectReason.LOTS_BELOW_MIN: {"order_lots": 1},
    RejectReason.LOTS_ABOVE_MAX: {"order_lots": 51},
    RejectReason.PRICE_OUTSIDE_BAND: {"price_ticks": 111},
    RejectReason.NOTIONAL_BELOW_MIN: {"order_lots": 3},
    RejectReason.NOTIONAL_ABOVE_MAX: {"order_lots": 45},
    RejectReason.TOO_MANY_OPEN_ORDERS: {"account": BUSY},
    RejectReason.PRE_TRADE_REFUSED: {"refused": 1},
    RejectReason.POST_ONLY_WOULD_TRADE: {"post_only": 1, "price_ticks": 100},
    RejectReason.OVERFLOW: {"instrument": FREE, "price_ticks": 2**48 - 1, "order_lots": 2**62 - 1},
    RejectReason.INSUFFICIENT_FUNDS: {"account": POOR},
}
"""What is wrong with a new order, in the order in which it is looked for."""


@dataclass(frozen=True)
class Case:
    """The last of these commands is answered by an event of this kind, with the reason."""

    kind: EventKind
    commands: list[Rows] = field(default_factory=list)


OTHERS: dict[RejectReason, Case] = {
    RejectReason.UNKNOWN_ASSET: Case(EventKind.COMMAND_REJECTED, [ask.deposit(BOB, 9, 1)]),
    RejectReason.UNKNOWN_ORDER: Case(EventKind.COMMAND_REJECTED, [ask.cancel(BOB, 3)]),
    RejectReason.ORDER_FINISHED: Case(EventKind.COMMAND_REJECTED, [ask.cancel(ALICE, 1), ask.cancel(ALICE, 1)]),
    RejectReason.DUPLICATE: Case(EventKind.COMMAND_REJECTED, [ask.create_instrument(0, 1)]),
    RejectReason.ACCOUNT_NOT_EMPTY: Case(
        EventKind.COMMAND_REJECTED, [ask.set_account_status(BOB, AccountStatus.CLOSED)]
    ),
    RejectReason.FOK_UNFILLED: Case(
        EventKind.ORDER_EXPIRED, [order(price_ticks=100, order_lots=6, time_in_force=TimeInForce.FOK)]
    ),
    RejectReason.IOC_REST: Case(
        EventKind.ORDER_CANCELED, [order(price_ticks=100, order_lots=6, time_in_force=TimeInForce.IOC)]
    ),
    RejectReason.NO_LIQUIDITY: Case(EventKind.ORDER_CANCELED, [order(instrument=FREE, **IOC)]),
    RejectReason.SELF_TRADE: Case(
        EventKind.ORDER_EXPIRED,
        [
            ask.cancel(BUSY, 2),
            order(side=Side.SELL, price_ticks=99),
            ask.set_limits(LIMITED),
            order(price_ticks=99, self_trade_prevention=SelfTradePrevention.EXPIRE_TAKER),
        ],
    ),
    RejectReason.AMOUNT_TOO_SMALL: Case(
        EventKind.ORDER_CANCELED, [ask.set_limits(LIMITED), order(**(IOC | {"order_lots": 0, "amount": 99}))]
    ),
    RejectReason.AMEND_BELOW_FILLED: Case(
        EventKind.COMMAND_REJECTED,
        [order(price_ticks=100, order_lots=8), ask.amend(BOB, 3, price_ticks=100, order_lots=5)],
    ),
    RejectReason.EXPIRED: Case(
        EventKind.ORDER_EXPIRED, [order(time_in_force=TimeInForce.GTD, expires_ns=NOW_NS + 5), ask.expire()]
    ),
    RejectReason.CANCELED_BY_USER: Case(EventKind.ORDER_CANCELED, [ask.cancel(ALICE, 1)]),
    RejectReason.CANCELED_ALL: Case(EventKind.ORDER_CANCELED, [ask.cancel_all(ALICE)]),
    RejectReason.REPLACED: Case(EventKind.ORDER_CANCELED, [ask.cancel_replace(2, order(account=BUSY))]),
}
"""What is wrong with other commands, and why orders end."""

CASES = {reason: Case(EventKind.ORDER_REJECTED, [order(**faults)]) for reason, faults in FAULTS.items()} | OTHERS


def answers(commands: list[Rows]) -> Rows:
    """Return the events of the last command, an EXPIRE of which comes when all is due."""
    engine = Engine()
    rows = stamp([*world(), *commands], first_sequence=1, ts_ns=NOW_NS)
    rows["ts_ns"][-1] += 10
    events = engine.apply(rows)
    return events[events["sequence"] == len(rows)]


def test_an_order_without_a_fault_is_accepted() -> None:
    assert EventKind.ORDER_ACCEPTED in answers([order()])["kind"].tolist()


def test_every_reason_has_a_row() -> None:
    assert set(CASES) == set(RejectReason) - {RejectReason.NONE}


@pytest.mark.parametrize(("reason", "case"), CASES.items(), ids=[reason.name for reason in CASES])
def test_a_fault_is_told_by_its_reason(reason: RejectReason, case: Case) -> None:
    events = answers(case.commands)

    told = events["reason"][np.isin(events["kind"], [case.kind])].tolist()
    assert [RejectReason(each) for each in told] == [reason]


@pytest.mark.parametrize("reason", FAULTS, ids=[reason.name for reason in FAULTS])
def test_of_several_faults_the_first_in_the_order_of_the_checks_is_told(reason: RejectReason) -> None:
    reasons = list(FAULTS)
    together: dict[str, int] = {}
    for later in reversed(reasons[reasons.index(reason) :]):
        # What overflows needs an instrument of its own, where the other faults are none.
        if later is reason or later is not RejectReason.OVERFLOW:
            together |= FAULTS[later]

    events = answers([order(**together)])

    assert [RejectReason(each) for each in events["reason"].tolist()] == [reason]


def test_the_checks_come_in_the_order_of_their_numbers_but_for_what_overflows() -> None:
    numbers = [reason for reason in FAULTS if reason is not RejectReason.OVERFLOW]

    assert numbers == sorted(numbers)
