"""Where the law keeps its numbers: parameters and state of an instrument, the ladder, and the rows that it makes."""

from typing import Final

# Parameters of an instrument: a row of floats that never changes. ----------------------------------------------------

P_TAKING: Final = 0
"""Aggressive orders a second, on average; behind it new orders of the three classes."""
P_PLACING: Final = 1
P_LIFE: Final = 4
"""Rate at which an order of a class is canceled, when nothing has happened; three of them."""
P_COUNT: Final = 7
"""Orders of a class in a book at rest; three of them."""
P_REACH: Final = 10
"""How far from the fair price orders of a class are placed, as a part of the price; three of them."""
P_SIZE: Final = 13
"""Scale of the sizes of a class in lots; three of them, and behind them that of aggressive orders."""
P_TAKER_SIZE: Final = 16
P_DAY_LOTS: Final = 17
P_DAY_VOLATILITY: Final = 18
P_TAKEN: Final = 19
P_CLOSED: Final = 20
P_FLED: Final = 21
P_PATIENCE: Final = 22
PARAMETERS: Final = 23

# State of an instrument: a row of floats. ----------------------------------------------------------------------------

S_ANCHOR: Final = 0
"""The middle of the newest market-data price, in ticks; 0 before the first."""
S_FAST: Final = 1
"""Variance of the anchor's log price in a second, over the last half minute; behind it over the last hour."""
S_SLOW: Final = 2
S_BUSTLE: Final = 3
"""The Ornstein-Uhlenbeck process that lets activity come in clusters."""
S_RUN_SIDE: Final = 4
S_RUN_LEFT: Final = 5
S_PRESSED_FAST: Final = 6
"""Signed lots of other people, forgotten within a minute; behind it within a quarter of an hour."""
S_PRESSED_SLOW: Final = 7
S_FAIR: Final = 8
"""The fair price of the slice before; 0 before the first."""
S_AGE: Final = 9
"""Seconds for which the anchor has been followed."""
S_PUSHED: Final = 10
"""Signed number of the aggressive orders of the last moment."""
STATES: Final = 11

# Whole numbers of an instrument. -------------------------------------------------------------------------------------

N_NUMBER: Final = 0
N_ACTIVE: Final = 1
N_ANCHOR_NS: Final = 2
N_ROWS: Final = 3
"""How many rows the last slice has."""
N_RANDOM: Final = 4
"""State of the random numbers, six words."""
N_SEEN_NS: Final = 10
"""When orders of a class were looked at last; three of them, and behind them how many were open, bids and asks."""
N_OPEN: Final = 13
NUMBERS: Final = 19

# The workspace of a slice. -------------------------------------------------------------------------------------------

DEPTH: Final = 24
"""Levels of a side that the law looks at."""
W_LEVELS: Final = 0
"""How many levels the bids have; behind it the asks."""
W_PRICES: Final = 2
W_LOTS: Final = W_PRICES + 2 * DEPTH
W_LIMITS: Final = W_LOTS + 2 * DEPTH
"""Fewest and most lots of an order, lowest and highest price."""
W_OPEN: Final = W_LIMITS + 4
"""How many orders the flow has in the book; behind it how many more each class may have."""
W_ROOM: Final = W_OPEN + 1
W_CANCELS: Final = W_ROOM + 3
"""Orders to cancel, in no order: id, account, side, price, lots."""
CANCEL_WIDTH: Final = 5

# A row that the law makes; `rows_of` makes commands of them. ---------------------------------------------------------

R_TS_NS: Final = 0
R_KIND: Final = 1
R_ACCOUNT: Final = 2
R_INSTRUMENT: Final = 3
R_ORDER_ID: Final = 4
R_SIDE: Final = 5
R_PRICE: Final = 6
R_LOTS: Final = 7
ROW_WIDTH: Final = 8
