"""What the house wants to show in a book: levels on both sides of a price, computed from the price alone.

Everything here is whole numbers and exact fractions, so the same price gives the same levels anywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from fauxchange.domain.listings import Listing
from fauxchange.services.exchange.core.vocabulary import BAND_UNIT, MAX_LOTS, MAX_PRICE_TICKS, SIDE_BUY, SIDE_SELL

Style = Literal["levels", "flat", "off"]

BAND_SHARE: Final = 20
"""The reference price follows when the middle has moved by more than this part of the price band."""

STANDING_BACK: Final = 10
"""Levels that stand back move when the price has moved by more than this part of their distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """Where an instrument's price comes from: a feed, or (None) no feed but a constant.

    Units: ratio in ticks of the instrument for one tick of the feed; for a constant the price itself, in ticks
    """

    feed: str | None
    ratio: Fraction

    def bid_ask(self, bid_ticks: int, ask_ticks: int) -> tuple[int, int]:
        """Return a feed's bid and ask in the instrument's ticks, rounded outwards.

        Ensures: 1 <= bid < ask; a feed whose bid and ask are the same keeps its bid and asks one tick more
        """
        bid = max(1, bid_ticks * self.ratio.numerator // self.ratio.denominator)
        ask = _ceiling(ask_ticks * self.ratio.numerator, self.ratio.denominator)
        return bid, max(ask, bid + 1)

    def constant(self) -> tuple[int, int]:
        """Return bid and ask around the constant, at most one tick away from it."""
        bid = max(1, _ceiling(self.ratio.numerator, self.ratio.denominator) - 1)
        return bid, max(bid + 1, self.ratio.numerator // self.ratio.denominator + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HousePlan:
    """How the house quotes an instrument.

    Units: spacing as a part of the best price, growth in lots of a level for one lot of the level before it,
           best_notional and most_quote in minor units of the quote asset, most_base in minor units of the base asset;
           distance as a part of the price: how far the best levels stand back from bid and ask
    """

    style: Style
    levels: int
    spacing: Fraction
    growth: Fraction
    best_notional: int
    most_quote: int
    most_base: int
    distance: Fraction = Fraction(0)


class Level(NamedTuple):
    """One order that the house wants to have."""

    side: int
    price_ticks: int
    lots: int


def desired_levels(listing: Listing, plan: HousePlan, bid_ticks: int, ask_ticks: int) -> list[Level]:
    """Return the levels around bid and ask, the best of each side first, bids before asks.

    Ensures: the best levels lie at bid and ask, or the plan's distance behind, and are worth at least `best_notional`,
             as far as the instrument's limits and the house's funds allow; prices of one side differ; no level is
             beyond a limit
    """
    if plan.style == "off":
        return []
    distance = plan.distance
    return [
        *_side(listing, plan, SIDE_BUY, bid_ticks - _ceiling(bid_ticks * distance.numerator, distance.denominator)),
        *_side(listing, plan, SIDE_SELL, ask_ticks + _ceiling(ask_ticks * distance.numerator, distance.denominator)),
    ]


def still_stands_back(plan: HousePlan, quoted: tuple[int, int], price: tuple[int, int]) -> bool:
    """Say whether levels around an earlier bid and ask are about as far away from the present ones as is planned."""
    allowed = plan.distance / STANDING_BACK
    return all(abs(now - then) <= allowed * then for now, then in zip(price, quoted, strict=True))


def recorded_levels(
    listing: Listing,
    plan: HousePlan,
    ratios: tuple[Fraction, Fraction],
    bids: Sequence[tuple[int, int]],
    asks: Sequence[tuple[int, int]],
) -> list[Level]:
    """Return a recorded book's levels as the instrument can have them, the best of each side first, bids before asks.

    Prices are rounded outwards and quantities to the nearest lot; levels that then share a price are one. A level
    smaller than the least order is as large as that. What lies too far outside for the price band is left out.

    Units:   bids and asks are price and quantity in ticks and lots of the feed, `ratios` in ticks and lots of the
             instrument for one of the feed
    Ensures: best bid < best ask, prices of one side differ, no level is beyond a limit
    """
    price_ratio, lot_ratio = ratios
    joined: tuple[dict[int, Fraction], dict[int, Fraction]] = ({}, {})
    for price, lots in bids:
        ticks = max(1, price * price_ratio.numerator // price_ratio.denominator)
        joined[0][ticks] = joined[0].get(ticks, Fraction(0)) + lots * lot_ratio
    best_bid = max(joined[0], default=0)
    for price, lots in asks:
        ticks = max(best_bid + 1, _ceiling(price * price_ratio.numerator, price_ratio.denominator))
        joined[1][ticks] = joined[1].get(ticks, Fraction(0)) + lots * lot_ratio
    mid = (best_bid + min(joined[1], default=best_bid)) // 2
    levels = []
    for side, prices in ((SIDE_BUY, sorted(joined[0], reverse=True)), (SIDE_SELL, sorted(joined[1]))):
        for ticks in prices:
            if ticks > MAX_PRICE_TICKS or _too_far(listing, ticks, mid):
                break
            value = ticks * listing.tick_value
            least = max(1, listing.min_lots, _ceiling(listing.min_notional, value))
            lots = min(max(least, round(joined[side == SIDE_SELL][ticks])), _most_lots(listing, plan, ticks))
            if lots >= least:
                levels.append(Level(side, ticks, lots))
    return levels


def _too_far(listing: Listing, price_ticks: int, mid_ticks: int) -> bool:
    """Say whether a price may lie outside the band, whose reference may lag behind by a part of it."""
    if not listing.price_band:
        return False
    allowed = listing.price_band * mid_ticks * (BAND_SHARE - 2)
    return abs(price_ticks - mid_ticks) * BAND_UNIT * BAND_SHARE > allowed


def reference_moved(listing: Listing, reference_ticks: int | None, mid_ticks: int) -> bool:
    """Say whether the instrument's reference price is too far from the middle, or was never set."""
    if not listing.price_band:
        return False
    if reference_ticks is None:
        return True
    return abs(mid_ticks - reference_ticks) * BAND_UNIT * BAND_SHARE > listing.price_band * reference_ticks


def asks_move_first(desired: Iterable[Level], resting_bids_ticks: Sequence[int]) -> bool:
    """Say which side moves first, so that the house never meets itself: the asks, unless they come down to its bids."""
    asks = [level.price_ticks for level in desired if level.side == SIDE_SELL]
    return not asks or not resting_bids_ticks or min(asks) > max(resting_bids_ticks)


def _side(listing: Listing, plan: HousePlan, side: int, best_ticks: int) -> list[Level]:
    away = -1 if side == SIDE_BUY else 1
    levels: list[Level] = []
    price = best_ticks
    lots = Fraction(_ceiling(plan.best_notional, best_ticks * listing.tick_value))
    for index in range(plan.levels if plan.style == "levels" else 1):
        if index:
            spacing = plan.spacing * index * best_ticks
            wanted = best_ticks + away * _ceiling(spacing.numerator, spacing.denominator)
            # At least one tick further, or two levels would be one.
            price = min(price - 1, wanted) if side == SIDE_BUY else max(price + 1, wanted)
            lots *= plan.growth
        if not 1 <= price <= MAX_PRICE_TICKS:
            break
        most = _most_lots(listing, plan, price)
        shown = most if plan.style == "flat" else min(most, _ceiling(lots.numerator, lots.denominator))
        if shown >= max(1, listing.min_lots):
            levels.append(Level(side, price, shown))
    return levels


def _most_lots(listing: Listing, plan: HousePlan, price_ticks: int) -> int:
    """Return the most lots that one order of the house may have at a price."""
    value = price_ticks * listing.tick_value
    limits = [MAX_LOTS, plan.most_quote // value, plan.most_base // listing.lot_value]
    if listing.max_lots:
        limits.append(listing.max_lots)
    if listing.max_notional:
        limits.append(listing.max_notional // value)
    return min(limits)


def _ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
