"""The plots of a book: recorded lines solid, the simulated one dashed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fauxchange.realism.book.curves import AFTER_S, LAGS, SIZES, SPREADS, WAITS, BookCurves
from fauxchange.realism.book.simulated import AFTER_S as IMPACT_AFTER_S
from fauxchange.realism.book.simulated import BPS, FITTED_AFTER, Impact
from fauxchange.realism.book.tape import DEPTH_BPS
from fauxchange.realism.report.pictures import FAINT, INK, MADE, OTHERS, REAL, Picture, drawn, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, BookCurves]
COLOURS: Final = (REAL, OTHERS[0], OTHERS[1], OTHERS[2])
LEAST: Final = 1e-4


def pictures_of(made: BookCurves | None, recorded: Curves, impact: Impact | None) -> list[Picture]:
    """Return all plots of a book, in the order in which they are read."""
    pictures = [
        arrivals(made, recorded),
        sign_memory(made, recorded),
        sizes(made, recorded),
        spread_and_depth(made, recorded),
        responses(made, recorded),
    ]
    return [*pictures, *([] if impact is None else [users_impact(impact)])]


def arrivals(made: BookCurves | None, recorded: Curves) -> Picture:
    """Return how long aggressive orders wait for the next."""

    def draw(axes: Any) -> None:
        _lines(axes, WAITS, made, recorded, lambda curves: curves.waits)
        axes.plot(WAITS, np.exp(-np.array(WAITS)), color=FAINT, linestyle=":", label="Poisson")
        axes.set(xscale="log", yscale="log", ylim=(LEAST, 1.5))
        label(axes, x="waiting time, in mean waiting times", y="share of waits that are longer")
        axes.legend(loc="lower left")

    return drawn(
        "book-arrivals",
        "Waiting times between aggressive orders",
        "Orders that take come in clusters: more very short and more long waits than a Poisson process has (dotted).",
        draw,
    )


def sign_memory(made: BookCurves | None, recorded: Curves) -> Picture:
    """Return the autocorrelation of the signs of aggressive orders."""

    def draw(axes: Any) -> None:
        _lines(axes, LAGS, made, recorded, lambda curves: curves.sign_memory)
        axes.set(xscale="log", yscale="log", ylim=(0.01, 1.0))
        label(axes, x="lag, in orders", y="autocorrelation of the sign")
        axes.legend(loc="lower left")

    return drawn(
        "book-signs",
        "Memory of order signs",
        "After a buyer comes a buyer, more often than not, for many orders: large orders are split. A straight line is "
        "a power law; values that are not positive are left out.",
        draw,
    )


def sizes(made: BookCurves | None, recorded: Curves) -> Picture:
    """Return how large aggressive orders are."""

    def draw(axes: Any) -> None:
        _lines(axes, SIZES, made, recorded, lambda curves: np.array(curves.sizes))
        axes.set(xscale="log", yscale="log", ylim=(LEAST, 1.5))
        label(axes, x="size, in median sizes", y="share of orders that are larger")
        axes.legend(loc="lower left")

    return drawn(
        "book-sizes",
        "Sizes of aggressive orders",
        "The largest are hundreds of times the median. The slope at the right is the tail index, a little above 1.",
        draw,
    )


def spread_and_depth(made: BookCurves | None, recorded: Curves) -> Picture:
    """Return the shares of spreads, and how depth grows with the distance from the mid."""

    def draw(panels: Any) -> None:
        ticks = np.arange(1, SPREADS + 1)
        everything = [*recorded.items(), *([] if made is None else [("simulated", made)])]
        width = 0.8 / max(1, len(everything))
        for at, (name, curves) in enumerate(everything):
            is_made = made is not None and curves is made
            colour = MADE if is_made else COLOURS[at % len(COLOURS)]
            places = ticks + (at - (len(everything) - 1) / 2) * width
            panels[0].bar(
                places, curves.spreads, width, color=colour, label=name, hatch="///" if is_made else None, alpha=0.85
            )
        panels[0].set(yscale="log", ylim=(1e-3, 1.5), xticks=ticks)
        panels[0].set_xticklabels([*map(str, ticks[:-1].tolist()), f"{SPREADS}+"])
        label(panels[0], x="spread, in ticks", y="share of quotes", title="Spread")
        panels[0].legend(loc="upper right")
        _lines(panels[1], DEPTH_BPS, made, recorded, lambda curves: np.array(curves.depth))
        panels[1].set(xscale="log", yscale="log")
        label(panels[1], x="distance from the mid, bps", y="share of the lots within 10 bps", title="Depth")

    return drawn(
        "book-spread-depth",
        "Spread and depth",
        "Left: of all changes of the quote, how many leave a spread of so many ticks. Right: how many lots lie within "
        "a distance of the mid; the first point is what stands at the best prices.",
        draw,
        columns=2,
    )


def responses(made: BookCurves | None, recorded: Curves) -> Picture:
    """Return the mid's move after aggressive orders, by size and by time."""

    def draw(panels: Any) -> None:
        everything = [*recorded.items(), *([] if made is None else [("simulated", made)])]
        for at, (name, curves) in enumerate(everything):
            style = _style(at, is_made=made is not None and curves is made)
            panels[0].plot(curves.response_sizes, np.maximum(curves.responses, 1e-9), marker="o", label=name, **style)
            panels[1].plot(AFTER_S, curves.decay, marker="o", **style)
        panels[0].set(xscale="log", yscale="log", ylim=(0.03, 5.0))
        panels[1].set(xscale="log")
        label(panels[0], x="size, in median orders", y="move after 1 s, in its deviation", title="By size")
        label(panels[1], x="seconds after the order", y="mean move", title="By time")
        panels[0].legend(loc="lower right")

    return drawn(
        "book-responses",
        "The mid after an aggressive order",
        "In standard deviations of the mid's second. It grows much more slowly than size does: large orders come when "
        "the book can take them.",
        draw,
        columns=2,
    )


def users_impact(impact: Impact) -> Picture:
    """Return what users' orders do to the price, against the same run without them."""

    def draw(panels: Any) -> None:
        law = impact.strength * impact.volatility * np.sqrt(impact.sizes) * BPS
        moves = np.maximum(impact.moves[:, FITTED_AFTER], 1e-9)
        panels[0].plot(impact.sizes, moves, color=MADE, linestyle="--", marker="o", label="a second after")
        panels[0].plot(impact.sizes, law, color=INK, linestyle=":", label="square-root law")
        panels[0].set(xscale="log", yscale="log")
        label(panels[0], x="size, as part of a day's volume", y="move of the mid, bps", title="By size")
        panels[0].legend(loc="upper left")
        panels[1].plot(IMPACT_AFTER_S, impact.left(), color=MADE, linestyle="--", marker="o")
        panels[1].axhline(0.0, color=FAINT, linewidth=0.8)
        panels[1].set_ylim(0.0, None)
        label(panels[1], x="seconds after the order", y="part of the move of a second", title="What is left")

    return drawn(
        "book-impact",
        "What a user's order does to the price",
        f"Mean of {impact.runs} pairs of runs that differ in the user's order alone. Left: the move grows with the "
        "square root of the size. Right: it fades within minutes.",
        draw,
        columns=2,
    )


def _lines(
    axes: "Axes", x: Any, made: BookCurves | None, recorded: Curves, line_of: Callable[[BookCurves], Any]
) -> None:
    everything = [*recorded.items(), *([] if made is None else [("simulated", made)])]
    for at, (name, curves) in enumerate(everything):
        y = np.asarray(line_of(curves), dtype=np.float64)
        if not len(y):
            continue
        # What has not happened has no place on a logarithmic axis.
        shown = np.where(y > 0, y, np.nan)
        axes.plot(np.asarray(x)[: len(y)], shown, label=name, **_style(at, is_made=made is not None and curves is made))


def _style(at: int, *, is_made: bool) -> dict[str, Any]:
    if is_made:
        return {"color": MADE, "linestyle": "--", "linewidth": 2.0}
    return {"color": COLOURS[at % len(COLOURS)], "linestyle": "-"}
