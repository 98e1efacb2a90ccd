"""The venue's reasons for refusing or ending an order: what callers are told for each of the kernel's numbers.

Numbers and codes are those of `services.exchange.core.vocabulary.RejectReason`; a test compares them.
"""

from typing import Final, NamedTuple


class Refusal(NamedTuple):
    """A stable code, and a sentence for people."""

    code: str
    detail: str


REFUSALS: Final[dict[int, Refusal]] = {
    101: Refusal("unknown_account", "there is no such account"),
    102: Refusal("unknown_instrument", "there is no such instrument"),
    103: Refusal("unknown_asset", "there is no such asset"),
    104: Refusal("unknown_order", "the account has no such order"),
    105: Refusal("order_finished", "the order is not open any more"),
    106: Refusal("bad_side", "the side is neither buy nor sell"),
    107: Refusal("bad_type", "there is no such type of order"),
    108: Refusal("bad_time_in_force", "orders of this type do not take this time in force"),
    109: Refusal("bad_quantity", "the quantity is not one that an order can have"),
    110: Refusal("bad_price", "the price is missing, not wanted, or not one that an order can have"),
    111: Refusal(
        "bad_stop_price",
        "the stop price is missing, not wanted, or not one that an order can have",
    ),
    112: Refusal("bad_display", "no more can be shown of an order than there is of it"),
    113: Refusal("bad_expiry", "a GTD order expires at a time to come, and no other order does"),
    114: Refusal("bad_combination", "these properties do not go together"),
    115: Refusal("bad_amount", "the amount is not one that can be moved or spent"),
    116: Refusal("duplicate", "this exists already"),
    201: Refusal("account_suspended", "the account is suspended: it may cancel and take deposits, nothing else"),
    202: Refusal("account_closed", "the account is closed"),
    203: Refusal("instrument_halted", "trading in this instrument is halted"),
    204: Refusal("instrument_cancel_only", "orders in this instrument can only be canceled at present"),
    205: Refusal("lots_below_min", "the quantity is smaller than the instrument's smallest"),
    206: Refusal("lots_above_max", "the quantity is larger than the instrument's largest"),
    207: Refusal("price_outside_band", "the price is too far from the reference price"),
    208: Refusal("notional_below_min", "price times quantity is smaller than the instrument's smallest"),
    209: Refusal("notional_above_max", "price times quantity is larger than the instrument's largest"),
    210: Refusal("too_many_open_orders", "the account has as many open orders in this instrument as it may have"),
    211: Refusal("account_not_empty", "an account with balances or open orders cannot be closed"),
    212: Refusal("pre_trade_refused", "a rule that this venue was given refuses the order"),
    301: Refusal("post_only_would_trade", "a post-only order must not trade at once, and this one would"),
    302: Refusal("fok_unfilled", "the book cannot fill the whole order at once"),
    303: Refusal("ioc_rest", "what could not be filled at once was canceled"),
    304: Refusal("no_liquidity", "the book has nothing to trade with"),
    305: Refusal("self_trade", "the order would have traded with one of its own account"),
    306: Refusal("amount_too_small", "the amount does not buy or sell the smallest quantity"),
    307: Refusal("amend_below_filled", "more than the new quantity has been filled already"),
    308: Refusal("expired", "the order's time ran out"),
    309: Refusal("canceled_by_user", "the order was canceled"),
    310: Refusal("canceled_all", "the order was canceled with all others"),
    311: Refusal("replaced", "another order took the place of this one"),
    401: Refusal("insufficient_funds", "the account has too little free for this, fees included"),
    402: Refusal("overflow", "the numbers are larger than the venue can count"),
}
"""By the kernel's number; 0 is no reason, and not among them."""


def refusal(reason: int) -> Refusal:
    """Return what callers are told for one of the kernel's reasons."""
    return REFUSALS[reason]
