"""What is measured of a book: one definition each, for recorded and simulated tapes alike.

Every statistic comes from a tape alone, and is nan where the tape is too short or does not hold what it needs. Several
depend on how long a tape is, so tapes are cut into windows as long as the recordings before they are compared.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from fauxchange.domain.times import NS_PER_S
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.realism.book.tape import DEPTH_BPS, BookTape, Orders

WINDOW_NS: Final = 345 * NS_PER_S
"""The recordings are so long."""
TAIL_SHARES: Final = (0.005, 0.01, 0.02)
SIZE_CLASSES: Final = (0.5, 0.75, 0.9, 0.97, 1.0)
"""Bounds of the classes of sizes in which the mid's response is averaged, as shares of all orders."""
RESPONSE_NS: Final = NS_PER_S
SIGN_LAGS: Final = (1, 2, 3, 5, 7, 10, 14, 20, 30)
LEAST_ORDERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BookStatistic:
    """A statistic's name, and what it says. `is_scale`: how much rather than how; told, not judged."""

    name: str
    title: str
    meaning: str
    is_scale: bool = False


STATISTICS: Final = (
    BookStatistic(
        name="spread_one_tick",
        title="spread is one tick, share of quotes",
        meaning="of all changes of best bid or offer, so many leave the narrowest spread",
    ),
    BookStatistic(
        name="spread_one_tick_time",
        title="spread is one tick, share of time",
        meaning="a wider spread is mended within milliseconds, so of time it is nearly all",
    ),
    BookStatistic(
        name="depth_0.1bps", title="depth within 0.1 bps", meaning="lots near the best, of those within 10 bps"
    ),
    BookStatistic(name="depth_1bps", title="depth within 1 bps", meaning="lots within 1 bps, of those within 10 bps"),
    BookStatistic(name="depth_3bps", title="depth within 3 bps", meaning="lots within 3 bps, of those within 10 bps"),
    BookStatistic(
        name="best_to_order",
        title="best level to order",
        meaning="median lots at the best, in median aggressive orders",
    ),
    BookStatistic(
        name="interval_cv",
        title="order inter-arrival CV",
        meaning="spread of the waiting times between aggressive orders; 1 is Poisson, more is clustered",
    ),
    BookStatistic(
        name="count_fano",
        title="Fano factor of 1-s counts",
        meaning="variance over mean of the orders in a second; 1 is Poisson",
    ),
    BookStatistic(
        name="sign_acf_1", title="sign memory, 1 order", meaning="a buy is followed by a buy: splitting and herding"
    ),
    BookStatistic(name="sign_acf_5", title="sign memory, 5 orders", meaning="the same five orders on"),
    BookStatistic(name="sign_acf_20", title="sign memory, 20 orders", meaning="the same twenty orders on"),
    BookStatistic(
        name="sign_decay",
        title="sign memory, decay exponent",
        meaning="how fast it fades: slope on log axes, lags 1-30",
    ),
    BookStatistic(
        name="size_hill", title="size tail index", meaning="Hill index of order sizes: near 1 the largest dominate"
    ),
    BookStatistic(name="size_p99_median", title="size p99 to median", meaning="how far the tail lies from the usual"),
    BookStatistic(
        name="mid_zero_1s", title="1-s mid unchanged", meaning="share of seconds after which the mid is where it was"
    ),
    BookStatistic(name="mid_kurt_1s", title="1-s mid kurtosis", meaning="excess kurtosis of the moves of a second"),
    BookStatistic(
        name="imbalance_corr",
        title="imbalance and next second",
        meaning="correlation of the lots at bid against ask with the mid's next move",
    ),
    BookStatistic(
        name="changes_per_order",
        title="book changes per aggressive order",
        meaning="levels changed within 10 bps for one order that takes: most orders are canceled",
    ),
    BookStatistic(
        name="response_1s",
        title="response after 1 s",
        meaning="the mid's mean move after an aggressive order, in its 1-s standard deviations",
    ),
    BookStatistic(
        name="response_exponent",
        title="response exponent over sizes",
        meaning="slope of log response on log size: well below 1 is concave",
    ),
    BookStatistic(name="orders_per_s", title="aggressive orders a second", meaning="how busy it is", is_scale=True),
    BookStatistic(name="prints_per_s", title="prints a second", meaning="trades as told", is_scale=True),
    BookStatistic(name="quotes_per_s", title="quote changes a second", meaning="of best bid or offer", is_scale=True),
    BookStatistic(name="mid_sd_1s_bps", title="1-s mid sd, bps", meaning="how volatile it is", is_scale=True),
    BookStatistic(name="spread_bps", title="mean spread, bps", meaning="over time", is_scale=True),
)
"""Everything that is measured of a tape, in the order in which it is shown."""

JUDGED: Final = tuple(statistic for statistic in STATISTICS if not statistic.is_scale)


def book_statistics(tape: BookTape) -> dict[str, float]:
    """Return every statistic of a tape, by name."""
    orders = tape.orders()
    values: dict[str, float] = {statistic.name: float("nan") for statistic in STATISTICS}
    if tape.seconds > 0:
        values["prints_per_s"] = len(tape.trade_ns) / tape.seconds
        values["orders_per_s"] = len(orders.ns) / tape.seconds
        values["quotes_per_s"] = len(tape.quote_ns) / tape.seconds
    if len(tape.quote_ns) > 1:
        values.update(spread_statistics(tape), **mid_statistics(tape))
    if tape.depth is not None:
        values.update(depth_statistics(tape.depth))
    if len(orders.ns) >= LEAST_ORDERS:
        values.update(arrival_statistics(orders, tape), **sign_statistics(orders.sign), **size_statistics(orders.lots))
        values.update(impact_statistics(tape, orders))
        if tape.level_changes is not None:
            values["changes_per_order"] = tape.level_changes / len(orders.ns)
        if len(tape.quote_ns):
            best = float(np.median(np.concatenate((tape.bid_lots, tape.ask_lots))))
            values["best_to_order"] = best / float(np.median(orders.lots))
    return values


def windowed_statistics(tape: BookTape, window_ns: int = WINDOW_NS) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Return the median of each statistic over windows of a tape, and the windows' own values."""
    each = [book_statistics(window) for window in tape.windows(window_ns)]
    return median_of(each), each


def median_of(each: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each statistic over windows; nan where no window has it."""
    medians = {}
    for statistic in STATISTICS:
        values = np.array([window[statistic.name] for window in each])
        known = values[np.isfinite(values)]
        medians[statistic.name] = float(np.median(known)) if len(known) else float("nan")
    return medians


def spread_statistics(tape: BookTape) -> dict[str, float]:
    """Return how often, and how long, the spread is one tick."""
    spread = tape.ask_ticks - tape.bid_ticks
    lengths = np.diff(tape.quote_ns, append=tape.end_ns)
    in_bps = spread / np.maximum(tape.mid_half_ticks, 1) * 2 * 10_000
    total = max(1, int(lengths.sum()))
    return {
        "spread_one_tick": float((spread == 1).mean()),
        "spread_one_tick_time": float(lengths[spread == 1].sum() / total),
        "spread_bps": float((in_bps * lengths).sum() / total),
    }


def depth_statistics(depth: FloatArray) -> dict[str, float]:
    """Return the shares of the lots within the widest distance that lie within the narrower ones.

    Shapes: depth (s, len(DEPTH_BPS)), cumulative lots
    """
    known = depth[np.isfinite(depth).all(axis=1)]
    mean = known.mean(axis=0) if len(known) else np.zeros(len(DEPTH_BPS))
    if not mean[-1]:
        return {}
    shares = dict(zip(DEPTH_BPS, (mean / mean[-1]).tolist(), strict=True))
    return {"depth_0.1bps": shares[0.1], "depth_1bps": shares[1.0], "depth_3bps": shares[3.0]}


def arrival_statistics(orders: Orders, tape: BookTape) -> dict[str, float]:
    """Return how aggressive orders cluster in time."""
    waits = np.diff(orders.ns).astype(np.float64)
    seconds = int((tape.end_ns - tape.start_ns) // NS_PER_S)
    counts = np.bincount((orders.ns - tape.start_ns) // NS_PER_S, minlength=seconds)[: max(1, seconds)]
    return {
        "interval_cv": float(waits.std() / waits.mean()) if waits.mean() > 0 else float("nan"),
        "count_fano": float(counts.var() / counts.mean()) if counts.mean() > 0 else float("nan"),
    }


def sign_statistics(sign: Int64Array) -> dict[str, float]:
    """Return how long the signs of aggressive orders remember."""
    memory = {lag: autocorrelation(sign, lag) for lag in SIGN_LAGS if lag < len(sign) // 2}
    positive = {lag: value for lag, value in memory.items() if value > 0}
    decay = -_slope(list(positive), list(positive.values())) if len(positive) > 3 else float("nan")
    return {
        "sign_acf_1": memory.get(1, float("nan")),
        "sign_acf_5": memory.get(5, float("nan")),
        "sign_acf_20": memory.get(20, float("nan")),
        "sign_decay": decay,
    }


def size_statistics(lots: Int64Array) -> dict[str, float]:
    """Return how heavy the tail of order sizes is, as the mean over three shares of it.

    Source: Hill (1975), A simple general approach to inference about the tail of a distribution
    """
    values = np.sort(lots.astype(np.float64))[::-1]
    indices = []
    for share in TAIL_SHARES:
        count = max(2, int(share * len(values)))
        excess = np.log(values[:count] / values[count])
        indices.append(1 / excess.mean() if excess.mean() > 0 else float("nan"))
    return {
        "size_hill": float(np.mean(indices)),
        "size_p99_median": float(np.quantile(lots, 0.99) / np.median(lots)),
    }


def mid_statistics(tape: BookTape) -> dict[str, float]:
    """Return how the mid moves from second to second, and whether the lots at the best foretell it."""
    seconds = np.arange(int(tape.quote_ns[0]), tape.end_ns, NS_PER_S)
    if len(seconds) < 10:
        return {}
    mids = tape.mid_at(seconds)
    returns = np.diff(np.log(mids))
    deviations = returns - returns.mean()
    variance = float((deviations**2).mean())
    at = np.searchsorted(tape.quote_ns, seconds[:-1], side="right") - 1
    total = np.maximum(1, tape.bid_lots + tape.ask_lots)[at]
    imbalance = (tape.bid_lots - tape.ask_lots)[at] / total
    return {
        "mid_zero_1s": float((np.diff(mids) == 0).mean()),
        "mid_kurt_1s": float((deviations**4).mean() / variance**2 - 3) if variance else float("nan"),
        "mid_sd_1s_bps": variance**0.5 * 10_000,
        "imbalance_corr": _correlation(imbalance, returns),
    }


def impact_statistics(tape: BookTape, orders: Orders) -> dict[str, float]:
    """Return the mid's move after aggressive orders, and how it grows with their size."""
    sizes, responses = responses_by_size(tape, orders, RESPONSE_NS)
    spread_of_mid = mid_statistics(tape).get("mid_sd_1s_bps", float("nan")) if len(tape.quote_ns) > 1 else float("nan")
    mean = mean_response(tape, orders, RESPONSE_NS)
    known = responses > 0
    return {
        "response_1s": mean / spread_of_mid if spread_of_mid else float("nan"),
        "response_exponent": _slope(sizes[known], responses[known]) if known.sum() > 2 else float("nan"),
    }


def mean_response(tape: BookTape, orders: Orders, after_ns: int) -> float:
    """Return the mean signed move of the mid from before an order until some time after it, in basis points."""
    moves = _moves(tape, orders, after_ns)
    known = np.isfinite(moves)
    return float(moves[known].mean()) if known.any() else float("nan")


def responses_by_size(tape: BookTape, orders: Orders, after_ns: int) -> tuple[FloatArray, FloatArray]:
    """Return mean size and mean response of each class of sizes, in lots and basis points."""
    moves = _moves(tape, orders, after_ns)
    known = np.isfinite(moves)
    moves, lots = moves[known], orders.lots[known]
    sizes, responses = [], []
    bounds = np.quantile(lots, SIZE_CLASSES) if len(lots) else np.zeros(len(SIZE_CLASSES))
    for low, high in pairwise(bounds.tolist()):
        chosen = (lots > low) & (lots <= high)
        if chosen.any():
            sizes.append(float(lots[chosen].mean()))
            responses.append(float(moves[chosen].mean()))
    return np.array(sizes), np.array(responses)


def _moves(tape: BookTape, orders: Orders, after_ns: int) -> FloatArray:
    inside = orders.ns + after_ns < tape.end_ns
    before = tape.mid_at(orders.ns, before=True)
    after = tape.mid_at(orders.ns + after_ns)
    moves: FloatArray = np.where(inside, orders.sign * (after - before) / before * 10_000, np.nan)
    return moves


def autocorrelation(values: Int64Array | FloatArray, lag: int) -> float:
    """Return the sample autocorrelation at a lag; nan for a constant."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred[lag:] * centred[:-lag]).mean() / variance) if variance else float("nan")


def _slope(x: FloatArray | list[int], y: FloatArray | list[float]) -> float:
    """Return the slope of log y on log x."""
    log_x, log_y = np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(y, dtype=np.float64))
    centred = log_x - log_x.mean()
    spread = float((centred**2).sum())
    return float((centred * (log_y - log_y.mean())).sum() / spread) if spread else float("nan")


def _correlation(x: FloatArray, y: FloatArray) -> float:
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
