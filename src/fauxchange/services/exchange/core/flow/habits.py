"""Numbers of the law that no setting changes; `docs/order-flow.md` says where they come from."""

from typing import Final

NEAR: Final = 0
MIDDLE: Final = 1
DEEP: Final = 2

# Activity. ----------------------------------------------------------------------------------------------------------

BUSTLE_S: Final = 4.0
BUSTLE_DEVIATION: Final = 0.8
"""Activity is log-normal around its mean, with this deviation of its logarithm and this memory."""
FAST_S: Final = 30.0
SLOW_S: Final = 1200.0
"""Memories of the two variances whose ratio says how volatile the price is now."""
STARTING_S: Final = 120.0
"""What the instrument's day volatility says of the variances at the start counts as much as so many seconds."""
LEAP: Final = 100.0
"""The square of no change counts for more than so many times the usual one."""
STILL: Final = 0.01
"""No variance falls below this part of what the instrument's day volatility says."""
MEAN_VOLATILITY: Final = 0.9
"""The mean of what `volatility` returns, where prices come from the model: rates are of such a time."""
VOLATILITY_LEAST: Final = 0.4
VOLATILITY_MOST: Final = 6.0
THINNING_POWER: Final = 0.5
"""New orders are smaller and lie farther away by this power of the volatility, and all live shorter."""

# Those who take. ----------------------------------------------------------------------------------------------------

SPLIT_SHARE: Final = 0.76
"""This part of the aggressive orders are pieces of larger ones, so that they come in runs of one side."""
RUN_EXPONENT: Final = 1.9
RUN_MOST: Final = 2000.0
INFORMED: Final = 0.22
"""How much likelier the side is that the fair price leans to, at most."""
TAIL_EXPONENT: Final = 1.2
TAIL_SHARE: Final = 0.05
TAKER_TAIL: Final = 200.0
MAKER_TAIL: Final = 15.0
"""The largest orders are so many times those at the beginning of the tail, of those who take and who quote."""
MODEST_SHARE: Final = 0.35
"""This part of those who would take more than the best level has take no more than it has."""
TAKER_REACH: Final = 5e-4
"""How far an aggressive order may reach, as a part of the price."""
CORRECTING: Final = 100.0
"""Who corrects a price takes so many times what others take."""

# Those who quote. ---------------------------------------------------------------------------------------------------

LEANING: Final = 0.36
"""How much likelier the side is that the fair price leans to, at most."""
REFILL: Final = 0.25
"""How much likelier the emptier side is, at most."""
HESITANT_SHARE: Final = 0.35
"""This part of those who quote into a wide spread lets some of it stand."""
NEAR_SHARE: Final = 0.15
"""Near orders that do not join the best level lie on average this part of their reach behind it."""
WARY: Final = 1.6
"""Who has the fair price come as close as people let pass cancels so much more often."""
LEFT_BEHIND: Final = 3.0
"""How much more often an order is canceled for each reach that it lies beyond its class's."""
SELDOM: Final = 3
"""Middle orders are looked at in every fourth slice, deep ones in every thirteenth."""
LONGEST: Final = 20
"""Where nobody has looked for more slices than this, since the instrument was inactive, only the last one counts."""
TOO_FAR: Final = 4.0
"""Where the fair price leaps by so many reaches of the deep orders, all are pulled and placed anew."""

# Impact. ------------------------------------------------------------------------------------------------------------

IMPACT: Final = 1.0
"""Y of the law I(Q) = Y sigma sqrt(Q / V), for the depth of the book."""
KEPT: Final = 2.0 / 3.0
"""What is left of the impact when the book has filled up again, before it decays."""
PRESSED_FAST_S: Final = 60.0
PRESSED_SLOW_S: Final = 900.0
"""Other people's signed volume is forgotten within these times, one half each."""
PUSHED_S: Final = 1.0
PUSHING: Final = 0.95
"""What many who take the same side within this time move the fair price by, to what people let pass, at most."""
