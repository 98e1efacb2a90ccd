"""The ledger: what each account has free and held of each asset, and the postings that change it.

Every posting of a trade, a deposit or a withdrawal has a counterpart: each asset sums to zero over all accounts.
An order holds what it may still have to pay (`reservation_of`), a function of the order alone: what a fill or an
amendment no longer needs is free at once.
"""

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import account_at, balance_at, fees_at, instrument_at
from fauxchange.services.exchange.core.arithmetic import fee_of, product, with_fee
from fauxchange.services.exchange.core.events import tell_balance
from fauxchange.services.exchange.core.layout import (
    A_TIER,
    B_FREE,
    B_HELD,
    F_MAKER,
    F_TAKER,
    I_BASE,
    I_LOT_VALUE,
    I_QUOTE,
    I_TICK_VALUE,
    O_ACCOUNT,
    O_INSTRUMENT,
    O_LEAVES,
    O_PRICE,
    O_QUOTE_LEFT,
    O_RATE,
    O_RESERVED,
    O_SIDE,
    Memory,
)
from fauxchange.services.exchange.core.vocabulary import (
    CAUSE_FEE,
    CAUSE_RELEASE,
    CAUSE_RESERVE,
    CAUSE_TRADE,
    FEE_ACCOUNT,
    SIDE_BUY,
)


@lean_kernel
def post(m: Memory, account: int, asset: int, delta_free: int, delta_held: int, cause: int, order: int) -> None:
    """Change a balance and say so; a posting of nothing is none."""
    if delta_free == 0 and delta_held == 0:
        return
    balance = balance_at(m, account, asset)
    m[balance + B_FREE] += delta_free
    m[balance + B_HELD] += delta_held
    tell_balance(m, account, asset, delta_free, delta_held, cause, order)


@lean_kernel
def taker_rate(m: Memory, account: int, instrument: int) -> int:
    """Return the rate that an account pays as a taker now."""
    tier = m[account_at(m, account) + A_TIER]
    return m[fees_at(m, instrument, tier) + F_TAKER]


@lean_kernel
def maker_rate(m: Memory, account: int, instrument: int) -> int:
    """Return the rate that an account pays as a maker now."""
    tier = m[account_at(m, account) + A_TIER]
    return m[fees_at(m, instrument, tier) + F_MAKER]


@lean_kernel
def held_asset(instrument: int, side: int) -> int:
    """Return the column of an instrument that names what orders of a side hold."""
    if side == SIDE_BUY:
        return instrument + I_QUOTE
    return instrument + I_BASE


@lean_kernel
def reservation(m: Memory, instrument: int, side: int, price: int, lots: int, quote_left: int, rate: int) -> int:
    """Return what an order holds, or TOO_LARGE.

    A sale holds the base of its lots; a purchase with a limit the notional at it and the fee on that; one without holds
    what is left of the quote amount that it may spend, and the fee on that.
    """
    if side != SIDE_BUY:
        return product(lots, m[instrument + I_LOT_VALUE])
    if price != 0:
        return with_fee(product(product(lots, price), m[instrument + I_TICK_VALUE]), rate)
    return with_fee(quote_left, rate)


@lean_kernel
def reservation_of(m: Memory, instrument: int, order: int) -> int:
    """Return what an order must hold as it stands."""
    return reservation(
        m,
        instrument,
        m[order + O_SIDE],
        m[order + O_PRICE],
        m[order + O_LEAVES],
        m[order + O_QUOTE_LEFT],
        m[order + O_RATE],
    )


@lean_kernel
def hold(m: Memory, order: int, needed: int) -> None:
    """Let an order hold `needed`: take the difference from what is free, or give it back."""
    difference = needed - m[order + O_RESERVED]
    instrument = instrument_at(m, m[order + O_INSTRUMENT])
    asset = m[held_asset(instrument, m[order + O_SIDE])]
    cause = CAUSE_RESERVE
    if difference < 0:
        cause = CAUSE_RELEASE
    post(m, m[order + O_ACCOUNT], asset, -difference, difference, cause, order)
    m[order + O_RESERVED] = needed


@lean_kernel
def settle(m: Memory, instrument: int, buyer: int, seller: int, lots: int, notional: int) -> int:
    """Move base and quote between the two orders of a fill, without the fees.

    Return what the purchase still holds of what the filled lots had reserved.
    """
    base = m[instrument + I_BASE]
    quote = m[instrument + I_QUOTE]
    base_amount = lots * m[instrument + I_LOT_VALUE]
    post(m, m[buyer + O_ACCOUNT], quote, 0, -notional, CAUSE_TRADE, buyer)
    post(m, m[seller + O_ACCOUNT], quote, notional, 0, CAUSE_TRADE, seller)
    post(m, m[seller + O_ACCOUNT], base, 0, -base_amount, CAUSE_TRADE, seller)
    post(m, m[buyer + O_ACCOUNT], base, base_amount, 0, CAUSE_TRADE, buyer)
    m[seller + O_RESERVED] -= base_amount
    needed = reservation_of(m, instrument, buyer)
    freed = m[buyer + O_RESERVED] - needed - notional
    m[buyer + O_RESERVED] = needed
    return freed


@lean_kernel
def pay_buyer_fee(m: Memory, instrument: int, buyer: int, fee: int, freed: int) -> int:
    """Charge a purchase's fee out of what its fill freed, then out of what the account has free; release the rest.

    Return what was charged: the fee, or less where fees rose since the order was entered and the account has no more.
    """
    account = m[buyer + O_ACCOUNT]
    quote = m[instrument + I_QUOTE]
    from_held = min(fee, freed)
    from_free = min(fee - from_held, max(0, m[balance_at(m, account, quote) + B_FREE]))
    post(m, account, quote, -from_free, -from_held, CAUSE_FEE, buyer)
    post(m, FEE_ACCOUNT, quote, from_held + from_free, 0, CAUSE_FEE, buyer)
    post(m, account, quote, freed - from_held, from_held - freed, CAUSE_RELEASE, buyer)
    return from_held + from_free


@lean_kernel
def settle_fill(m: Memory, instrument: int, taker: int, maker: int, lots: int) -> tuple[int, int]:
    """Settle a fill at the maker's price, after both orders' lots were counted down; return maker's and taker's fee."""
    notional = lots * m[maker + O_PRICE] * m[instrument + I_TICK_VALUE]
    number = m[taker + O_INSTRUMENT]
    maker_fee = fee_of(notional, maker_rate(m, m[maker + O_ACCOUNT], number))
    taker_fee = fee_of(notional, taker_rate(m, m[taker + O_ACCOUNT], number))
    quote = m[instrument + I_QUOTE]
    if m[taker + O_SIDE] == SIDE_BUY:
        freed = settle(m, instrument, taker, maker, lots, notional)
        pay_seller_fee(m, quote, maker, maker_fee)
        taker_fee = pay_buyer_fee(m, instrument, taker, taker_fee, freed)
    else:
        freed = settle(m, instrument, maker, taker, lots, notional)
        pay_seller_fee(m, quote, taker, taker_fee)
        maker_fee = pay_buyer_fee(m, instrument, maker, maker_fee, freed)
    return maker_fee, taker_fee


@lean_kernel
def pay_seller_fee(m: Memory, quote: int, seller: int, fee: int) -> None:
    """Charge a sale's fee out of its proceeds, which are more."""
    post(m, m[seller + O_ACCOUNT], quote, -fee, 0, CAUSE_FEE, seller)
    post(m, FEE_ACCOUNT, quote, fee, 0, CAUSE_FEE, seller)
