"""Pictures of scenarios: the prices of the model as they are bent, beside those of the same seed left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S, format_duration
from fauxchange.realism.bars import FloatArray, Int64Array
from fauxchange.realism.report.pictures import FAINT, INK, MADE, OTHERS, REAL, Picture, drawn
from fauxchange.services.market_data.core.models import KernelCompiler, interpreted
from fauxchange.services.market_data.core.parameters import LmvTable, default_table
from fauxchange.services.market_data.core.scenarios import Scenario, ScenarioKind, ScenarioSpec, Timeline, place
from fauxchange.services.market_data.service.simulation import DEFAULT_MODEL, MODELS, with_prices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SYMBOLS = 4
MARGIN = 0.2
"""How much of the scenarios' own span is shown before and after them."""
STEPS = 1_600
MIN_STEP_NS = NS_PER_S // 10
MAX_STEP_NS = NS_PER_MINUTE
WINDOW_STEPS = 72
ORIGIN_NS = 20_000 * 86_400 * NS_PER_S
"""A midnight, so that the hours of the daily profile are those of the axis."""
WARM_UP_STEPS = 250
LEAST_MOVEMENT = 0.05
_NAME_ROWS = (0.0, 10.0, 20.0)
"""How far above the panel, in points, the names of phases stand that would else overlap."""
_LETTER = 0.0105
"""The width of a letter of such a name, as a share of the panel's."""
_COLOURS = (MADE, REAL, *OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bending:
    """Prices with and without scenarios.

    Shapes: since_ns (n,), prices (symbols, n)
    Units:  since_ns in nanoseconds since the timeline began; prices in quote currency
    """

    symbols: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    since_ns: Int64Array
    bent: FloatArray
    alone: FloatArray


def bending(
    specs: Sequence[ScenarioSpec],
    instruments: Sequence[Instrument],
    *,
    seed: int,
    table: LmvTable | None = None,
    initial_prices: Mapping[str, Decimal] | None = None,
    compiler: KernelCompiler = interpreted,
) -> Bending:
    """Return the prices of the instruments while scenarios run, and without them.

    Raises: InvalidRequest if the scenarios act on none of the instruments
    """
    scenarios = place(specs, origin_ns=ORIGIN_NS, seed=seed)
    if not any(scenario.touches(each.symbol) for scenario in scenarios for each in instruments):
        shown = ", ".join(each.symbol for each in instruments)
        raise InvalidRequest(f"the scenarios act on none of the symbols shown ({shown})", field="symbols")
    span_ns = max(scenario.end_ns for scenario in scenarios) - ORIGIN_NS
    # Volatility is drawn over windows, so however short the scenario is, a window fits in.
    margin_ns = max(round(MARGIN * span_ns), WINDOW_STEPS * MIN_STEP_NS)
    step_ns = min(max(round((span_ns + 2 * margin_ns) / STEPS), MIN_STEP_NS), MAX_STEP_NS)
    before, after = -(-margin_ns // step_ns), -(-(span_ns + margin_ns) // step_ns)
    since_ns = step_ns * np.arange(-before - WARM_UP_STEPS, after + 1, dtype=np.int64)
    paths = []
    for timeline in (Timeline(scenarios), Timeline()):
        model = MODELS[DEFAULT_MODEL](
            priced=with_prices(instruments, initial_prices or {}),
            seed=seed,
            interval_ns=step_ns,
            table=table or default_table(),
            compiler=compiler,
        )
        model.bend(timeline)
        mids = model.advance(ORIGIN_NS + since_ns).mids[:, WARM_UP_STEPS:]
        ticks = np.array([float(each.tick_size) for each in instruments])
        paths.append(0.5 * mids * ticks[:, None])
    return Bending(
        symbols=tuple(each.symbol for each in instruments),
        scenarios=scenarios,
        since_ns=since_ns[WARM_UP_STEPS:],
        bent=paths[0],
        alone=paths[1],
    )


def picture_of(bent: Bending, *, title: str) -> Picture:
    """Return the picture: prices above, bent and alone, and how much they move below."""

    def draw(panels: Any) -> None:
        scale, unit = _time_scale(int(bent.since_ns[-1]))
        time = bent.since_ns / scale
        at_start = int(np.searchsorted(bent.since_ns, 0))
        for symbol, with_it, without, colour in zip(bent.symbols, bent.bent, bent.alone, _COLOURS, strict=False):
            start = without[at_start]
            panels[0].plot(time, 100.0 * (without / start - 1.0), color=colour, linewidth=0.9, linestyle=(0, (2, 1.5)))
            panels[0].plot(time, 100.0 * (with_it / start - 1.0), color=colour, linewidth=1.3, label=symbol)
            usual = float(np.median(_movement(without))) or 1.0
            panels[1].plot(time, _movement(without) / usual, color=colour, linewidth=0.9, linestyle=(0, (2, 1.5)))
            panels[1].plot(time, _movement(with_it) / usual, color=colour, linewidth=1.3)
        panels[0].plot([], [], color=INK, linewidth=0.9, linestyle=(0, (2, 1.5)), label="same seed, left alone")
        _levels(panels[0], bent, at_start)
        for axes in panels:
            _phases(axes, bent.scenarios, scale, time[-1] - time[0] if axes is panels[0] else 0.0)
        panels[0].set_ylabel("price, % of start")
        panels[0].set_title(title, pad=6.0 + (_NAME_ROWS[-1] if len(bent.scenarios) > 1 else 0.0) + 10.0)
        panels[0].legend(loc="best", ncols=2)
        panels[1].set(
            yscale="log",
            ylim=_movement_limits(panels[1]),
            xlabel=f"{unit} since the start",
            ylabel="volatility",
            xlim=(time[0], time[-1]),
        )
        _plain_ticks(panels[1])

    return drawn(
        "scenario",
        title,
        "Solid lines are the prices as the scenario bends them, dashed ones those of the same seed left alone. Below, "
        "how much the price moves, against the median of the time when it is left alone.",
        draw,
        rows=2,
        size=(7.2, 4.4),
        sharex=True,
        height_ratios=(3, 2),
    )


def shown_symbols(specs: Sequence[ScenarioSpec], known: Sequence[str]) -> tuple[str, ...]:
    """Return the symbols that a picture is clear with: those named, the market's first one, or that one alone."""
    named = [symbol for spec in specs for symbol in (*spec.symbols, *spec.against)]
    apart = any(spec.kind is ScenarioKind.DIVERGENCE for spec in specs)
    shown = [*named, *(known[:1] if apart or not named else ())]
    return tuple(dict.fromkeys(shown))[:MOST_SYMBOLS]


def _movement(prices: FloatArray) -> FloatArray:
    """Return the root mean square of the returns around each moment."""
    returns = np.diff(np.log(prices), prepend=np.log(prices[0]))
    window = np.hanning(WINDOW_STEPS + 2)[1:-1]
    squares = np.convolve(returns * returns, window, mode="same")
    return np.asarray(np.sqrt(squares / np.convolve(np.ones(len(returns)), window, mode="same")), np.float64)


def _levels(axes: "Axes", bent: Bending, at_start: int) -> None:
    for scenario in bent.scenarios:
        level = scenario.spec.level
        for symbol, without in zip(bent.symbols, bent.alone, strict=True):
            if level is not None and scenario.touches(symbol):
                axes.axhline(100.0 * (level / without[at_start] - 1.0), color=FAINT, linestyle="--", linewidth=1.0)


def _phases(axes: "Axes", scenarios: Sequence[Scenario], scale: float, span: float) -> None:
    """Shade the phases and, on the upper panel, name each where the names before it leave room."""
    free_from = [-np.inf] * len(_NAME_ROWS)
    phases = [(scenario, phase) for scenario in scenarios for phase in scenario.phases]
    for number, (scenario, phase) in enumerate(phases):
        first, end = ((edge - ORIGIN_NS) / scale for edge in (phase.start_ns, phase.end_ns))
        axes.axvspan(first, end, color=FAINT, alpha=0.10 if number % 2 else 0.22, linewidth=0.0)
        name = phase.name if len(scenarios) == 1 else f"{scenario.spec.id}: {phase.name}"
        row = next((row for row, free in enumerate(free_from) if first >= free), None)
        if not span or row is None:
            continue
        free_from[row] = first + (len(name) + 1) * _LETTER * span
        axes.annotate(
            name,
            (first, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2.0, 2.0 + _NAME_ROWS[row]),
            textcoords="offset points",
            fontsize=8,
        )


def _movement_limits(axes: "Axes") -> tuple[float, float]:
    # A market that stands still for a while would stretch a logarithmic axis to nowhere.
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in axes.get_lines()])
    return 0.8 * max(float(drawn.min()), LEAST_MOVEMENT), 1.25 * float(drawn.max())


def _plain_ticks(axes: "Axes") -> None:
    low, high = axes.get_ylim()
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    axes.set_yticks(ticks, labels=[f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()


def _time_scale(last_ns: int) -> tuple[float, str]:
    for unit_ns, name in ((24 * 60 * NS_PER_MINUTE, "days"), (60 * NS_PER_MINUTE, "hours"), (NS_PER_MINUTE, "minutes")):
        if last_ns >= 3 * unit_ns:
            return float(unit_ns), name
    return float(NS_PER_S), "seconds"


def title_of(specs: Sequence[ScenarioSpec], description: str = "") -> str:
    """Return what a picture of scenarios is called."""
    if description:
        return description
    told = [f"{spec.kind} of {100.0 * spec.magnitude:g} % in {format_duration(spec.duration_ns)}" for spec in specs[:3]]
    more = f" and {len(specs) - 3} more" if len(specs) > 3 else ""
    return (", ".join(told) + more).capitalize()
