"""The commands of the venue itself: assets, accounts, instruments, fees, limits, deposits and withdrawals."""

from typing import Final

from fauxchange.domain.kernels import lean_kernel
from fauxchange.services.exchange.core.addresses import account_at, balance_at, desk_at, fees_at, instrument_at
from fauxchange.services.exchange.core.events import refuse, tell
from fauxchange.services.exchange.core.layout import (
    A_STATUS,
    A_TIER,
    B_FREE,
    B_HELD,
    C_ACCOUNT,
    C_AMOUNT,
    C_ASSET,
    C_BASE_ASSET,
    C_DECIMALS,
    C_INSTRUMENT,
    C_KIND,
    C_LOT_VALUE,
    C_MAKER_FEE_RATE,
    C_MAX_LOTS,
    C_MAX_NOTIONAL,
    C_MAX_OPEN_ORDERS,
    C_MIN_LOTS,
    C_MIN_NOTIONAL,
    C_PRICE_BAND,
    C_PRICE_TICKS,
    C_QUOTE_ASSET,
    C_STATUS,
    C_TAKER_FEE_RATE,
    C_TICK_VALUE,
    C_TIER,
    C_UNFUNDED,
    D_HEAD,
    E_ASSET,
    F_MAKER,
    F_TAKER,
    H_ACCOUNTS,
    H_ASSET_AT,
    H_ASSETS,
    H_INSTRUMENTS,
    I_BASE,
    I_LOT_VALUE,
    I_MAX_LOTS,
    I_MAX_NOTIONAL,
    I_MAX_OPEN_ORDERS,
    I_MIN_LOTS,
    I_MIN_NOTIONAL,
    I_PRICE_BAND,
    I_QUOTE,
    I_REFERENCE,
    I_STATUS,
    I_TICK_VALUE,
    I_UNFUNDED,
    MAX_INT64,
    MAX_TIERS,
    Memory,
)
from fauxchange.services.exchange.core.ledger import post
from fauxchange.services.exchange.core.vocabulary import (
    ACCOUNT_ACTIVE,
    ACCOUNT_CLOSED,
    ACCOUNT_SUSPENDED,
    BAND_UNIT,
    CAUSE_DEPOSIT,
    CAUSE_WITHDRAWAL,
    COMMAND_DEPOSIT,
    COMMAND_SET_INSTRUMENT_STATUS,
    COMMAND_SET_REFERENCE_PRICE,
    EVENT_ACCOUNT_CHANGED,
    EVENT_ACCOUNT_CREATED,
    EVENT_ASSET_CREATED,
    EVENT_FEES_CHANGED,
    EVENT_INSTRUMENT_CHANGED,
    EVENT_INSTRUMENT_CREATED,
    INSTRUMENT_CANCEL_ONLY,
    INSTRUMENT_OPEN,
    MAX_FEE_RATE,
    MAX_PRICE_TICKS,
    REASON_ACCOUNT_CLOSED,
    REASON_ACCOUNT_NOT_EMPTY,
    REASON_ACCOUNT_SUSPENDED,
    REASON_BAD_AMOUNT,
    REASON_BAD_COMBINATION,
    REASON_BAD_PRICE,
    REASON_DUPLICATE,
    REASON_INSUFFICIENT_FUNDS,
    REASON_NONE,
    REASON_OVERFLOW,
    REASON_UNKNOWN_ACCOUNT,
    REASON_UNKNOWN_ASSET,
    REASON_UNKNOWN_INSTRUMENT,
    TRANSIT_ACCOUNT,
)

MAX_DECIMALS: Final = 18


@lean_kernel
def create_asset(m: Memory) -> None:
    """Give out the next asset."""
    decimals = m[C_DECIMALS]
    if not 0 <= decimals <= MAX_DECIMALS:
        refuse(m, REASON_BAD_AMOUNT, 0)
        return
    asset = m[H_ASSETS]
    m[H_ASSETS] += 1
    m[m[H_ASSET_AT] + asset] = decimals
    event = tell(m, EVENT_ASSET_CREATED, -1, -1)
    m[event + E_ASSET] = asset


@lean_kernel
def create_account(m: Memory) -> None:
    """Give out the next account."""
    if not 0 <= m[C_TIER] < MAX_TIERS:
        refuse(m, REASON_BAD_COMBINATION, 0)
        return
    account = m[H_ACCOUNTS]
    m[H_ACCOUNTS] += 1
    m[account_at(m, account) + A_TIER] = m[C_TIER]
    tell(m, EVENT_ACCOUNT_CREATED, -1, account)


@lean_kernel
def is_empty(m: Memory, account: int) -> bool:
    """Say whether an account has neither orders nor money."""
    for number in range(m[H_INSTRUMENTS]):
        if m[desk_at(m, account, number) + D_HEAD] != 0:
            return False
    for asset in range(m[H_ASSETS]):
        balance = balance_at(m, account, asset)
        if m[balance + B_FREE] != 0 or m[balance + B_HELD] != 0:
            return False
    return True


@lean_kernel
def set_account_status(m: Memory) -> None:
    """Activate, suspend or close an account; one that is closed stays so."""
    account = m[C_ACCOUNT]
    status = m[C_STATUS]
    if not 0 <= account < m[H_ACCOUNTS]:
        refuse(m, REASON_UNKNOWN_ACCOUNT, 0)
        return
    record = account_at(m, account)
    if not ACCOUNT_ACTIVE <= status <= ACCOUNT_CLOSED:
        refuse(m, REASON_BAD_COMBINATION, 0)
    elif m[record + A_STATUS] == ACCOUNT_CLOSED:
        refuse(m, REASON_ACCOUNT_CLOSED, 0)
    elif status == ACCOUNT_CLOSED and not is_empty(m, account):
        refuse(m, REASON_ACCOUNT_NOT_EMPTY, 0)
    else:
        m[record + A_STATUS] = status
        tell(m, EVENT_ACCOUNT_CHANGED, -1, account)


@lean_kernel
def set_tier_fees(m: Memory) -> None:
    """Set the fees of a tier, for one instrument or for all, those to come included."""
    number = m[C_INSTRUMENT]
    tier = m[C_TIER]
    maker = m[C_MAKER_FEE_RATE]
    taker = m[C_TAKER_FEE_RATE]
    if not -1 <= number < m[H_INSTRUMENTS]:
        refuse(m, REASON_UNKNOWN_INSTRUMENT, 0)
        return
    if not 0 <= tier < MAX_TIERS:
        refuse(m, REASON_BAD_COMBINATION, 0)
        return
    if not 0 <= maker <= MAX_FEE_RATE or not 0 <= taker <= MAX_FEE_RATE:
        refuse(m, REASON_BAD_AMOUNT, 0)
        return
    first, last = number, number
    if number == -1:
        last = m[H_INSTRUMENTS] - 1
    for each in range(first, last + 1):
        fees = fees_at(m, each, tier)
        m[fees + F_MAKER] = maker
        m[fees + F_TAKER] = taker
    tell(m, EVENT_FEES_CHANGED, number, -1)


@lean_kernel
def limits_fit(m: Memory) -> bool:
    """Say whether the limits of a command are in range."""
    return (
        m[C_MIN_LOTS] >= 0
        and m[C_MAX_LOTS] >= 0
        and m[C_MIN_NOTIONAL] >= 0
        and m[C_MAX_NOTIONAL] >= 0
        and 0 <= m[C_PRICE_BAND] <= BAND_UNIT
        and m[C_MAX_OPEN_ORDERS] >= 0
    )


@lean_kernel
def write_limits(m: Memory, instrument: int) -> None:
    """Take over the limits of a command."""
    m[instrument + I_MIN_LOTS] = m[C_MIN_LOTS]
    m[instrument + I_MAX_LOTS] = m[C_MAX_LOTS]
    m[instrument + I_MIN_NOTIONAL] = m[C_MIN_NOTIONAL]
    m[instrument + I_MAX_NOTIONAL] = m[C_MAX_NOTIONAL]
    m[instrument + I_PRICE_BAND] = m[C_PRICE_BAND]
    m[instrument + I_MAX_OPEN_ORDERS] = m[C_MAX_OPEN_ORDERS]


@lean_kernel
def has_pair(m: Memory, base: int, quote: int) -> bool:
    """Say whether there is an instrument of these two assets."""
    for number in range(m[H_INSTRUMENTS]):
        instrument = instrument_at(m, number)
        if m[instrument + I_BASE] == base and m[instrument + I_QUOTE] == quote:
            return True
    return False


@lean_kernel
def create_instrument(m: Memory) -> None:
    """Give out the next instrument, with the fees that every tier has by default."""
    base = m[C_BASE_ASSET]
    quote = m[C_QUOTE_ASSET]
    if not 0 <= base < m[H_ASSETS] or not 0 <= quote < m[H_ASSETS]:
        refuse(m, REASON_UNKNOWN_ASSET, 0)
        return
    if base == quote or not 0 <= m[C_UNFUNDED] <= 1:
        refuse(m, REASON_BAD_COMBINATION, 0)
        return
    if m[C_TICK_VALUE] <= 0 or m[C_LOT_VALUE] <= 0 or not limits_fit(m):
        refuse(m, REASON_BAD_AMOUNT, 0)
        return
    if has_pair(m, base, quote):
        refuse(m, REASON_DUPLICATE, 0)
        return
    number = m[H_INSTRUMENTS]
    m[H_INSTRUMENTS] += 1
    instrument = instrument_at(m, number)
    m[instrument + I_BASE] = base
    m[instrument + I_QUOTE] = quote
    m[instrument + I_TICK_VALUE] = m[C_TICK_VALUE]
    m[instrument + I_LOT_VALUE] = m[C_LOT_VALUE]
    m[instrument + I_UNFUNDED] = m[C_UNFUNDED]
    write_limits(m, instrument)
    for tier in range(MAX_TIERS):
        m[fees_at(m, number, tier) + F_MAKER] = m[fees_at(m, -1, tier) + F_MAKER]
        m[fees_at(m, number, tier) + F_TAKER] = m[fees_at(m, -1, tier) + F_TAKER]
    tell(m, EVENT_INSTRUMENT_CREATED, number, -1)


@lean_kernel
def change_instrument(m: Memory) -> None:
    """Set an instrument's status, reference price or limits."""
    number = m[C_INSTRUMENT]
    kind = m[C_KIND]
    if not 0 <= number < m[H_INSTRUMENTS]:
        refuse(m, REASON_UNKNOWN_INSTRUMENT, 0)
        return
    instrument = instrument_at(m, number)
    if kind == COMMAND_SET_INSTRUMENT_STATUS:
        if not INSTRUMENT_OPEN <= m[C_STATUS] <= INSTRUMENT_CANCEL_ONLY:
            refuse(m, REASON_BAD_COMBINATION, 0)
            return
        m[instrument + I_STATUS] = m[C_STATUS]
    elif kind == COMMAND_SET_REFERENCE_PRICE:
        if not 0 <= m[C_PRICE_TICKS] <= MAX_PRICE_TICKS:
            refuse(m, REASON_BAD_PRICE, 0)
            return
        m[instrument + I_REFERENCE] = m[C_PRICE_TICKS]
    else:
        if not limits_fit(m):
            refuse(m, REASON_BAD_AMOUNT, 0)
            return
        write_limits(m, instrument)
    tell(m, EVENT_INSTRUMENT_CHANGED, number, -1)


@lean_kernel
def transfer(m: Memory) -> None:
    """Deposit from transit, or withdraw to it."""
    account = m[C_ACCOUNT]
    asset = m[C_ASSET]
    amount = m[C_AMOUNT]
    deposits = m[C_KIND] == COMMAND_DEPOSIT
    if not 0 <= account < m[H_ACCOUNTS]:
        refuse(m, REASON_UNKNOWN_ACCOUNT, 0)
        return
    if not 0 <= asset < m[H_ASSETS]:
        refuse(m, REASON_UNKNOWN_ASSET, 0)
        return
    status = m[account_at(m, account) + A_STATUS]
    in_transit = m[balance_at(m, TRANSIT_ACCOUNT, asset) + B_FREE]
    reason = REASON_NONE
    if amount <= 0 or account == TRANSIT_ACCOUNT:
        reason = REASON_BAD_AMOUNT
    elif status == ACCOUNT_SUSPENDED and not deposits:
        reason = REASON_ACCOUNT_SUSPENDED
    elif status == ACCOUNT_CLOSED:
        reason = REASON_ACCOUNT_CLOSED
    elif not deposits and amount > m[balance_at(m, account, asset) + B_FREE]:
        reason = REASON_INSUFFICIENT_FUNDS
    elif deposits and in_transit < amount - MAX_INT64:
        # All accounts together have what transit owes, so that this is the only sum that can grow too large.
        reason = REASON_OVERFLOW
    if reason != REASON_NONE:
        refuse(m, reason, 0)
    elif deposits:
        post(m, TRANSIT_ACCOUNT, asset, -amount, 0, CAUSE_DEPOSIT, 0)
        post(m, account, asset, amount, 0, CAUSE_DEPOSIT, 0)
    else:
        post(m, account, asset, -amount, 0, CAUSE_WITHDRAWAL, 0)
        post(m, TRANSIT_ACCOUNT, asset, amount, 0, CAUSE_WITHDRAWAL, 0)
