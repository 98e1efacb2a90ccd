"""The plots of the report: what an analyst draws of two markets that are said to be alike."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxchange.realism.bars import Bars, FloatArray
from fauxchange.realism.judging import WEEK_RETURNS
from fauxchange.realism.report.curves import PROBABILITIES, TAIL_SIGMAS, Band, Curves
from fauxchange.realism.report.pictures import FAINT, INK, MADE, REAL, Picture, drawn, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Intervals = Mapping[str, tuple[float, float]]
"""The real ranges of facts by name, as far as there are any."""

_PATH_POINTS = 720
_SEEN = 1e-4
"""A tail that fewer than one return in ten thousand reaches is noise within a week."""


def tails(real: Curves | None, made: Curves, intervals: Intervals) -> Picture:
    """Return the share of returns beyond so many standard deviations, on logarithmic axes, falls and rises."""

    def draw(panels: Any) -> None:
        for axes, side, title in zip(panels, ("falls", "rises"), ("Falls", "Rises"), strict=True):
            _tail_panel(axes, real, made, side)
            label(axes, x="standard deviations of the week", y="share of returns beyond", title=title)
        panels[0].legend(loc="lower left")

    low, high = intervals.get("hill", (np.nan, np.nan))
    tail = f" Its slope is the tail index, {low:.1f} to {high:.1f} in real weeks." if np.isfinite(low) else ""
    return drawn(
        "tails",
        "Tails of one-minute returns",
        "How often a one-minute return is larger than so many standard deviations. A straight line is a power law."
        f"{tail} Bands hold 90 % of the weeks; the dotted curve is what a normal distribution would do.",
        draw,
        columns=2,
        sharey=True,
    )


def memory(real: Curves | None, made: Curves, intervals: Intervals) -> Picture:
    """Return the autocorrelation of absolute returns on logarithmic axes."""

    def draw(axes: Any) -> None:
        _memory_panel(axes, real, made, intervals)
        axes.legend(loc="lower left")

    return drawn(
        "memory",
        "Memory of volatility",
        "How much the size of a return tells of the size of one so much later. Real markets forget slowly: a line that "
        "falls evenly on these axes is a power law, an exponential would plunge. Bars are the real ranges of the "
        "facts at those lags.",
        draw,
    )


def seasons(real: Curves | None, made: Curves) -> Picture:
    """Return volatility by hour of the day."""

    def draw(axes: Any) -> None:
        for curves, style in _styled(real, made):
            _line(axes, curves.season, curves.label, drawstyle="steps-mid", step="mid", **style)
        axes.axhline(1.0, color=FAINT, linewidth=0.8)
        axes.set(xlim=(-0.5, 23.5))
        axes.set_xticks(range(0, 24, 3), labels=[f"{hour:02}:00" for hour in range(0, 24, 3)])
        label(axes, x="hour of the day (UTC)", y="mean |return| over that of the day")
        axes.legend(loc="best")

    return drawn(
        "seasons",
        "Volatility by hour",
        "The day has a shape of its own, busiest when both Europe and America trade. 1 is the average of the day; "
        "bands hold 90 % of the weeks.",
        draw,
    )


def fading(real: Curves | None, made: Curves, intervals: Intervals) -> Picture:
    """Return how heavy tails fade as returns are summed over longer times."""

    def draw(axes: Any) -> None:
        for curves, style in _styled(real, made):
            _line(axes, curves.tail_width, curves.label, **style)
        _ranges(axes, {1: "qkurt_1", 60: "qkurt_60"}, intervals)
        axes.axhline(0.0, color=FAINT, linestyle=":", linewidth=1.2)
        axes.set(xscale="log", xlim=(0.9, 270))
        axes.set_xticks([1, 2, 5, 15, 30, 60, 120, 240], labels=["1 min", "2", "5", "15", "30", "1 h", "2 h", "4 h"])
        axes.minorticks_off()
        label(axes, x="return over", y="width of the tails")
        axes.legend(loc="best")

    return drawn(
        "fading",
        "Tails over longer times",
        "The 95 % range over the middle half, against that of a normal distribution (0, dotted). Sums of "
        "independent returns would fall to 0 quickly; real ones tend to stay above it for hours, because volatility "
        "lasts.",
        draw,
    )


def quantiles(real: Curves, made: Curves) -> Picture:
    """Return the quantiles of the generated returns against those of the real ones."""

    def draw(panels: Any) -> None:
        for axes, name, title in zip(panels, ("quantiles_1", "quantiles_60"), ("One minute", "One hour"), strict=True):
            ours, theirs = getattr(made, name), getattr(real, name)
            # Of a month of hours the outermost quantiles are single hours.
            kept = slice(None) if name == "quantiles_1" else _inner(0.004)
            reach = 1.05 * float(max(np.abs(ours[kept]).max(), np.abs(theirs[kept]).max()))
            axes.plot([-reach, reach], [-reach, reach], color=FAINT, linewidth=1.0)
            axes.plot(theirs[kept], ours[kept], "o", color=MADE, markersize=3.2)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
            axes.set_box_aspect(1.0)
            label(axes, x="real", y="generated", title=title)

    return drawn(
        "quantiles",
        "Quantiles against quantiles",
        "Each point is a quantile, from 1 in 5,000 at either end, of the real returns (across) and of the generated "
        "ones (up), in standard deviations. On the line the two distributions agree.",
        draw,
        columns=2,
        size=(7.2, 3.6),
    )


def paths(real: Bars | None, made: Sequence[Bars]) -> Picture:
    """Return a week of a real market beside weeks of the generated one, on the same scale."""
    weeks = ([("real", REAL, real)] if real is not None else []) + [("generated", MADE, each) for each in made]

    def draw(panels: Any) -> None:
        for column, (name, colour, bars) in enumerate(weeks):
            returns = np.diff(np.log(bars.close[: WEEK_RETURNS + 1]))
            days, level, low, high = _thinned(returns)
            panels[0][column].plot(days, level, color=colour, linewidth=1.1)
            panels[0][column].set_title(name)
            panels[1][column].fill_between(days, low, high, color=colour, linewidth=0.4, step="mid")
            panels[1][column].set_xlabel("day")
        panels[0][0].set_ylabel("price, % of start")
        panels[1][0].set_ylabel("1-min return, %")

    return drawn(
        "paths",
        "Sample paths side by side",
        "A week of prices above, its one-minute returns below, all on the same scale. Look for what a model gets wrong "
        "first: bursts that come in clusters and calm stretches between them, and single returns that stand out.",
        draw,
        rows=2,
        columns=len(weeks),
        squeeze=False,
        sharey="row",
        sharex=True,
        size=(7.2, 3.8),
    )


def correlations(
    symbols: Sequence[str], measured: Mapping[int, FloatArray], targets: Mapping[int, FloatArray] | None
) -> Picture:
    """Return the correlation matrices by minutes; where targets are known they stand below the diagonal."""

    def draw(panels: Any) -> None:
        for axes, (minutes, matrix) in zip(np.atleast_1d(panels), measured.items(), strict=True):
            goal = None if targets is None else targets.get(minutes)
            shown = matrix if goal is None else np.where(np.tril(np.ones_like(matrix), -1) > 0, goal, matrix)
            _matrix(axes, symbols, shown)
            axes.set_title(f"{minutes} min" if minutes < 60 else f"{minutes // 60} h")

    halves = "" if targets is None else " above the diagonal, of the real ones below it"
    return drawn(
        "correlations",
        "Correlation between symbols",
        f"Correlations of the generated returns{halves}, by the length of the return. "
        "Alike numbers across the diagonal mean that the markets hang together as real ones do.",
        draw,
        columns=len(measured),
        size=(7.2, 2.9),
    )


def overview(title: str, real: Curves, made: Curves, weeks: tuple[Bars, Bars], intervals: Intervals) -> Picture:
    """Return the essence on one picture: a week of each market, tails, and memory."""

    def draw(panels: Any) -> None:
        names = ("A real week", "A generated week")
        for axes, bars, colour, name in zip(panels[0], weeks, (REAL, MADE), names, strict=True):
            days, _, low, high = _thinned(np.diff(np.log(bars.close[: WEEK_RETURNS + 1])))
            axes.fill_between(days, low, high, color=colour, linewidth=0.4, step="mid")
            label(axes, x="day", y="1-min return, %", title=name)
        panels[0][1].sharey(panels[0][0])
        _tail_panel(panels[1][0], real, made, "falls")
        label(panels[1][0], x="standard deviations", y="share of returns beyond", title="Falls")
        panels[1][0].legend(loc="lower left")
        _memory_panel(panels[1][1], real, made, intervals)
        panels[1][1].set_title("Memory of volatility")

    return drawn("overview", title, "", draw, rows=2, columns=2, size=(8.4, 5.2))


def _tail_panel(axes: "Axes", real: Curves | None, made: Curves, side: str) -> None:
    _normal_tail(axes)
    for curves, style in _styled(real, made):
        _line(axes, _above(getattr(curves, side)), curves.label, **style)
    axes.set(xscale="log", yscale="log", xlim=(0.25, 40.0), ylim=(_SEEN, 1.0))
    axes.set_xticks([0.5, 1, 2, 5, 10, 20], labels=["0.5", "1", "2", "5", "10", "20"])


def _memory_panel(axes: "Axes", real: Curves | None, made: Curves, intervals: Intervals) -> None:
    for curves, style in _styled(real, made):
        _line(axes, _positive(curves.acf_abs), curves.label, **style)
    _ranges(axes, {1: "acf_abs_1", 20: "acf_abs_20", 60: "acf_abs_60", 240: "acf_abs_240"}, intervals, floor=0.004)
    axes.set(xscale="log", yscale="log", xlim=(0.9, 1_600), ylim=(0.004, 0.6))
    axes.set_xticks([1, 5, 20, 60, 240, 1_440], labels=["1 min", "5", "20", "1 h", "4 h", "1 day"])
    axes.set_yticks([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    axes.set_yticklabels(["0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5"])
    label(axes, x="lag", y="autocorrelation of |return|")


def _styled(real: Curves | None, made: Curves) -> list[tuple[Curves, dict[str, Any]]]:
    ours: tuple[Curves, dict[str, Any]] = (made, {"color": MADE, "linestyle": (0, (5, 1.6))})
    return [ours] if real is None else [(real, {"color": REAL, "linestyle": "-"}), ours]


def _line(axes: "Axes", band: Band, name: str, *, color: str, step: Any = None, **style: Any) -> None:
    axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.16, linewidth=0.0, step=step)
    axes.plot(band.x, band.median, color=color, label=name, **style)


def _ranges(axes: "Axes", names: Mapping[int, str], intervals: Intervals, floor: float | None = None) -> None:
    known = {x: intervals[name] for x, name in names.items() if name in intervals}
    for number, (x, (low, high)) in enumerate(known.items()):
        bottom = low if floor is None else max(low, floor)
        axes.errorbar(
            [x],
            [0.5 * (bottom + high)],
            yerr=0.5 * (high - bottom),
            linestyle="none",
            color=INK,
            elinewidth=1.2,
            capsize=4.0,
            label="real range of the fact" if number == 0 else None,
        )


def _above(band: Band) -> Band:
    """Leave out what too few returns reach, so that a line ends where its data does."""
    seen = band.median >= _SEEN
    return Band(band.x[seen], band.median[seen], np.maximum(band.low[seen], _SEEN), band.high[seen])


def _positive(band: Band) -> Band:
    positive = band.median > 0.0
    first = len(positive) if positive.all() else int(np.argmin(positive))
    return Band(band.x[:first], band.median[:first], np.maximum(band.low[:first], 1e-4), band.high[:first])


def _normal_tail(axes: "Axes") -> None:
    tail = np.array([0.5 * math.erfc(x / math.sqrt(2.0)) for x in TAIL_SIGMAS.tolist()])
    axes.plot(TAIL_SIGMAS, tail, color=FAINT, linestyle=":", linewidth=1.3, label="normal distribution")


def _inner(share: float) -> Any:
    return (share <= PROBABILITIES) & (1.0 - share >= PROBABILITIES)


def _thinned(returns: FloatArray) -> tuple[FloatArray, ...]:
    """Return days, price in % of the start, and the least and largest return, of as many points as a picture has."""
    per = max(1, len(returns) // _PATH_POINTS)
    whole = len(returns) // per
    cut = returns[: whole * per].reshape(whole, per)
    days = (np.arange(whole, dtype=np.float64) + 0.5) * (per / 1_440.0)
    level: FloatArray = 100.0 * (np.exp(np.cumsum(returns)[per - 1 : whole * per : per]) - 1.0)
    low: FloatArray = 100.0 * np.minimum(cut.min(axis=1), 0.0)
    high: FloatArray = 100.0 * np.maximum(cut.max(axis=1), 0.0)
    return days, level, low, high


def _matrix(axes: "Axes", symbols: Sequence[str], values: FloatArray) -> None:
    count = len(symbols)
    axes.grid(visible=False)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    for row in range(count):
        for column in range(count):
            value = float(values[row, column])
            if row == column:
                continue
            axes.fill(
                [column - 0.5, column + 0.5, column + 0.5, column - 0.5],
                [row - 0.5, row - 0.5, row + 0.5, row + 0.5],
                color=MADE if column > row else REAL,
                alpha=0.12 + 0.5 * min(max(value, 0.0), 1.0) ** 2,
                linewidth=0.0,
            )
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5)
    names = [symbol.partition("/")[0] for symbol in symbols]
    axes.set_xticks(range(count), labels=names)
    axes.set_yticks(range(count), labels=names)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
