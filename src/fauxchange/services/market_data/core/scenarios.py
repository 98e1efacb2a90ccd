"""Scenarios: what an operator asks the market to do, when, and to which symbols.

A scenario bends the model and never replaces it. It acts in four ways, all of them functions of venue time alone, so
that neither the step length nor the cutting into blocks matters:

* a displacement of the log price along a path (rally, crash, divergence): a step takes up the difference between the
  path at its end and at the end of the step before, so the whole is reached exactly whatever the steps;
* an addition to log variance (crash: building up before the plunge, decaying as a power law after it);
* a coupling, by which the loading on the market is multiplied (divergence);
* a pull towards a level (reverting).

Several scenarios may overlap: displacements and log variances add up, couplings multiply, pulls add up.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, centred_units, exp_each, log, log_each, units
from fauxchange.domain.chance import WordStream
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.instruments import parse_symbol
from fauxchange.domain.times import NS_PER_MS, NS_PER_S, format_duration
from fauxchange.services.market_data.core.batches import Int64Array

NS_PER_DAY = 86_400 * NS_PER_S
MAX_DURATION_NS = 30 * NS_PER_DAY
MAX_START_NS = 366 * NS_PER_DAY
AFTERSHOCK_DURATIONS = 6
DEFAULT_PULL = 0.99


class ScenarioKind(StrEnum):
    """What happens."""

    RALLY = "rally"
    CRASH = "crash"
    DIVERGENCE = "divergence"
    REVERTING = "reverting"


class Shape(StrEnum):
    """How the way is spread over the duration: evenly, with soft ends, mostly at first, mostly at the end."""

    LINEAR = "linear"
    SMOOTH = "smooth"
    EXPONENTIAL = "exponential"
    ACCELERATING = "accelerating"


class Direction(StrEnum):
    """Where the symbols of a divergence go."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a scenario: the field's path, what is wrong, and where in a file it stands."""

    field: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}"
        place += "" if self.column is None else f", column {self.column}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class InvalidScenario(InvalidRequest):
    """A scenario cannot be what it says; `problems` holds everything that is wrong with it."""

    code = "invalid_scenario"

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        lines = [f"{source}: {problem}" if source else str(problem) for problem in problems]
        super().__init__("\n".join(lines), field=problems[0].field or None)
        self.problems = tuple(problems)


OPTIONS: Mapping[ScenarioKind, frozenset[str]] = {
    ScenarioKind.RALLY: frozenset({"shape"}),
    ScenarioKind.CRASH: frozenset(
        {"shape", "buildup_ns", "aftershock_ns", "volatility", "decay", "jumps", "jump_share"}
    ),
    ScenarioKind.DIVERGENCE: frozenset({"shape", "rejoin_ns", "decoupling", "direction", "against"}),
    ScenarioKind.REVERTING: frozenset({"level"}),
}
"""The fields that only some kinds have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSpec:
    """What is asked, before it has a place in time.

    Units:  magnitude, jump_share and decoupling are fractions (0.2 is 20 %); start_offset_ns counts from the moment
            the timeline begins; level in quote currency; volatility is how many times the usual one at the peak
    Raises: InvalidScenario, which names every field that is out of bounds

    `magnitude` is by how much the price rises (rally), falls (crash) or leaves (divergence); of a reverting scenario
    it is the share of a gap to the level that is closed by the end. No symbols means all of them.
    """

    id: str
    kind: ScenarioKind
    duration_ns: int
    magnitude: float = DEFAULT_PULL
    symbols: tuple[str, ...] = ()
    start_offset_ns: int = 0
    shape: Shape = Shape.SMOOTH
    # crash
    buildup_ns: int = 0
    aftershock_ns: int | None = None
    volatility: float = 3.0
    decay: float = 1.0
    jumps: int = 5
    jump_share: float = 0.3
    # divergence
    rejoin_ns: int = 0
    decoupling: float = 0.8
    direction: Direction = Direction.UP
    against: tuple[str, ...] = ()
    # reverting
    level: float | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InvalidScenario(problems)

    @property
    def full_aftershock_ns(self) -> int:
        """How long a crash's volatility decays: six times its duration unless stated."""
        return AFTERSHOCK_DURATIONS * self.duration_ns if self.aftershock_ns is None else self.aftershock_ns

    def mapping(self) -> dict[str, Any]:
        """Return the specification as JSON, in the form that `spec_from_mapping` reads."""
        document: dict[str, Any] = {
            "id": self.id,
            "kind": str(self.kind),
            "symbols": list(self.symbols),
            "magnitude": self.magnitude,
            "duration": format_duration(self.duration_ns),
            "start": format_duration(self.start_offset_ns),
        }
        for name in sorted(OPTIONS[self.kind]):
            value = getattr(self, name)
            if name.endswith("_ns"):
                if value is not None:
                    document[name.removesuffix("_ns")] = format_duration(value)
            elif value is not None:
                document[name] = _json(value)
        return document


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, StrEnum) else value


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "volatility": (1.0, 20.0),
    "decay": (0.1, 5.0),
    "jumps": (0, 100),
    "jump_share": (0.0, 1.0),
    "decoupling": (0.0, 1.0),
    "level": (1e-12, 1e12),
}


def _problems(spec: ScenarioSpec) -> Iterable[Problem]:
    if _ID.fullmatch(spec.id) is None:
        yield Problem("id", f"{spec.id!r} is not 1 to 64 letters, digits, dots, dashes and underscores")
    yield from _magnitude_problems(spec)
    yield from _duration_problems(spec)
    for name, (low, high) in _BOUNDS.items():
        value = getattr(spec, name)
        if value is not None and not low <= value <= high:
            yield Problem(name, f"{value:g} is not between {low:g} and {high:g}")
    for name in ("symbols", "against"):
        yield from _symbol_problems(name, getattr(spec, name))
    yield from _kind_problems(spec)


def _magnitude_problems(spec: ScenarioSpec) -> Iterable[Problem]:
    falls = spec.kind is ScenarioKind.CRASH or (
        spec.kind is ScenarioKind.DIVERGENCE and (spec.direction is Direction.DOWN)
    )
    closes = spec.kind is ScenarioKind.REVERTING
    high = 0.99 if falls else 0.999999 if closes else 10.0
    if not 0.0001 <= spec.magnitude <= high:
        yield Problem("magnitude", f"{spec.magnitude:g} is not between 0.0001 and {high:g} (a fraction: 0.2 is 20 %)")


def _duration_problems(spec: ScenarioSpec) -> Iterable[Problem]:
    limits = {
        "duration_ns": (NS_PER_MS, MAX_DURATION_NS),
        "start_offset_ns": (0, MAX_START_NS),
        "buildup_ns": (0, MAX_DURATION_NS),
        "aftershock_ns": (0, MAX_DURATION_NS),
        "rejoin_ns": (0, MAX_DURATION_NS),
    }
    for name, (low, high) in limits.items():
        value = getattr(spec, name)
        if value is not None and not low <= value <= high:
            yield Problem(
                FILE_NAMES.get(name, name), f"is not between {format_duration(low)} and {format_duration(high)}"
            )


def _symbol_problems(name: str, symbols: Sequence[str]) -> Iterable[Problem]:
    for index, symbol in enumerate(symbols):
        try:
            canonical = parse_symbol(symbol)
        except InvalidRequest as exc:
            yield Problem(f"{name}[{index}]", exc.message)
        else:
            if canonical != symbol:
                yield Problem(f"{name}[{index}]", f"write {canonical}, not {symbol}")
            elif symbol in symbols[:index]:
                yield Problem(f"{name}[{index}]", f"{symbol} is named twice")


def _kind_problems(spec: ScenarioSpec) -> Iterable[Problem]:
    if spec.kind is ScenarioKind.DIVERGENCE:
        if not spec.symbols:
            yield Problem("symbols", "a divergence names the symbols that leave the others")
        for symbol in set(spec.symbols) & set(spec.against):
            yield Problem("against", f"{symbol} cannot go both ways")
    special = frozenset[str]().union(*OPTIONS.values()) - OPTIONS[spec.kind]
    for known in fields(ScenarioSpec):
        if known.name in special and getattr(spec, known.name) != known.default:
            yield Problem(FILE_NAMES.get(known.name, known.name), f"a {spec.kind} has no such option")


FILE_NAMES: Mapping[str, str] = {
    "duration_ns": "duration",
    "start_offset_ns": "start",
    "buildup_ns": "buildup",
    "aftershock_ns": "aftershock",
    "rejoin_ns": "rejoin",
}
"""What a field with a unit in its name is called in files and requests, where the unit is written with the value."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a scenario. Units: nanoseconds of venue time; it holds for start_ns < t <= end_ns."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Scenario:
    """A specification with its place in venue time. The seed decides where the jumps of a crash fall."""

    spec: ScenarioSpec
    start_ns: int
    seed: int = 0

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """The scenario's parts, one after the other; it is over when the last one ends."""
        spec = self.spec
        parts: Mapping[ScenarioKind, tuple[tuple[str, int], ...]] = {
            ScenarioKind.RALLY: (("ramp", spec.duration_ns),),
            ScenarioKind.CRASH: (
                ("buildup", spec.buildup_ns),
                ("plunge", spec.duration_ns),
                ("aftershock", spec.full_aftershock_ns),
            ),
            ScenarioKind.DIVERGENCE: (("apart", spec.duration_ns), ("rejoin", spec.rejoin_ns)),
            ScenarioKind.REVERTING: (("pull", spec.duration_ns),),
        }
        phases = []
        start_ns = self.start_ns
        for name, length_ns in parts[spec.kind]:
            if length_ns:
                phases.append(Phase(name, start_ns, start_ns + length_ns))
            start_ns += length_ns
        return tuple(phases)

    @property
    def end_ns(self) -> int:
        """When the last phase ends."""
        return self.phases[-1].end_ns

    def phase_at(self, ts_ns: int) -> Phase | None:
        """Return the phase at a moment; None before the start and after the end."""
        return next((phase for phase in self.phases if phase.start_ns < ts_ns <= phase.end_ns), None)

    def touches(self, symbol: str) -> bool:
        """Say whether the scenario acts on a symbol."""
        return not self.spec.symbols or symbol in self.spec.symbols or symbol in self.spec.against

    def displacement(self, symbol: str, ts_ns: Int64Array) -> FloatArray:
        """Return by how much the log price has been moved at each time since the scenario began."""
        spec = self.spec
        if spec.kind is ScenarioKind.RALLY:
            return log(1.0 + spec.magnitude) * self._path("ramp", ts_ns)
        if spec.kind is ScenarioKind.CRASH:
            reach = log(1.0 - spec.magnitude)
            steady = reach * (1.0 - self._jump_share) * self._path("plunge", ts_ns)
            return steady + reach * self._jump_share * self._jumped(ts_ns)
        if spec.kind is ScenarioKind.DIVERGENCE:
            upward = (spec.direction is Direction.UP) == (symbol not in spec.against)
            size = log(1.0 + spec.magnitude) if spec.direction is Direction.UP else -log(1.0 - spec.magnitude)
            path = self._path("apart", ts_ns)
            if spec.rejoin_ns:
                path = path - self._path("rejoin", ts_ns)
            return path * size if upward else path * -size
        return np.zeros(len(ts_ns))

    def log_variance(self, ts_ns: Int64Array) -> FloatArray:
        """Return what is added to the log variance at each time."""
        spec = self.spec
        if spec.kind is not ScenarioKind.CRASH or spec.volatility == 1.0:
            return np.zeros(len(ts_ns))
        plunge = _smooth(np.minimum(2.0 * self._progress("plunge", ts_ns), 1.0))
        if spec.buildup_ns:
            plunge = 0.5 * _smooth(self._progress("buildup", ts_ns)) + 0.5 * plunge
        return 2.0 * log(spec.volatility) * plunge * self._aftershock(ts_ns)

    def coupling(self, ts_ns: Int64Array) -> FloatArray:
        """Return what the loading on the market is multiplied by at each time."""
        if self.spec.kind is not ScenarioKind.DIVERGENCE:
            return np.ones(len(ts_ns))
        inside = (ts_ns > self.start_ns) & (ts_ns <= self.end_ns)
        return np.where(inside, 1.0 - self.spec.decoupling, 1.0)

    def pull(self, ts_ns: Int64Array) -> FloatArray:
        """Return the share of the way to the level taken from each time to the next. Shapes: (n + 1,) to (n,)."""
        if self.spec.kind is not ScenarioKind.REVERTING:
            return np.zeros(len(ts_ns) - 1)
        progress = self._progress("pull", ts_ns)
        return 1.0 - exp_each(log(1.0 - self.spec.magnitude) * (progress[1:] - progress[:-1]))

    def _progress(self, name: str, ts_ns: Int64Array) -> FloatArray:
        phase = self._phase(name)
        elapsed = (ts_ns - phase.start_ns).astype(np.float64)
        return np.minimum(np.maximum(elapsed / float(phase.end_ns - phase.start_ns), 0.0), 1.0)

    def _path(self, name: str, ts_ns: Int64Array) -> FloatArray:
        return _shaped(self.spec.shape, self._progress(name, ts_ns))

    def _phase(self, name: str) -> Phase:
        return next(phase for phase in self.phases if phase.name == name)

    @property
    def _jump_share(self) -> float:
        return self.spec.jump_share if self.spec.jumps else 0.0

    @cached_property
    def _cluster(self) -> tuple[FloatArray, FloatArray]:
        # Where in the plunge the jumps fall, and how much of their sum has fallen before and after each.
        stream = WordStream(self.seed, "scenario", self.spec.id)
        count = self.spec.jumps
        places = np.sort(units(stream.words(0, count)))
        sizes = -log_each(0.5 + centred_units(stream.words(count, count)))
        sums = [0.0]
        for size in sizes.tolist():
            sums.append(sums[-1] + size)
        return places, np.array([total / sums[-1] for total in sums])

    def _jumped(self, ts_ns: Int64Array) -> FloatArray:
        if not self.spec.jumps:
            return np.zeros(len(ts_ns))
        places, sums = self._cluster
        return sums[np.searchsorted(places, self._progress("plunge", ts_ns), side="left")]

    def _aftershock(self, ts_ns: Int64Array) -> FloatArray:
        # (1 + s)**-decay, lowered so that it ends at 0, with s counted in durations since the end of the plunge.
        spec = self.spec
        if not spec.full_aftershock_ns:
            return np.where(ts_ns <= self.end_ns, 1.0, 0.0)
        longest = spec.full_aftershock_ns / spec.duration_ns
        since = 1.0 + longest * self._progress("aftershock", ts_ns)
        floor = _power(np.array([1.0 + longest]), -spec.decay)
        return (_power(since, -spec.decay) - floor) / (1.0 - floor)


@dataclass(frozen=True)
class Timeline:
    """Scenarios that may overlap, in the order in which they were asked for."""

    scenarios: tuple[Scenario, ...] = ()

    def active(self, symbol: str, before_ns: int, until_ns: int) -> Sequence[Scenario]:
        """Return the scenarios that act on a symbol somewhere in before_ns < t <= until_ns."""
        return [
            scenario
            for scenario in self.scenarios
            if scenario.start_ns < until_ns and scenario.end_ns > before_ns and scenario.touches(symbol)
        ]

    def pulling(self, symbol: str, ts_ns: int) -> Sequence[Scenario]:
        """Return the reverting scenarios that have begun by the step that ends at `ts_ns` and act on a symbol."""
        return [
            scenario
            for scenario in self.scenarios
            if scenario.spec.kind is ScenarioKind.REVERTING
            and scenario.start_ns < ts_ns <= scenario.end_ns
            and scenario.touches(symbol)
        ]

    def cuts(self, ts_ns: Int64Array) -> list[int]:
        """Return the steps at which a pull begins, rising: there a model must note the price that is pulled to."""
        starts = {
            int(np.searchsorted(ts_ns, scenario.start_ns, side="right"))
            for scenario in self.scenarios
            if scenario.spec.kind is ScenarioKind.REVERTING
        }
        return sorted(step for step in starts if 0 < step < len(ts_ns))


def place(specs: Iterable[ScenarioSpec], *, origin_ns: int, seed: int) -> tuple[Scenario, ...]:
    """Return the scenarios of a timeline that begins at venue time `origin_ns`."""
    return tuple(Scenario(spec, origin_ns + spec.start_offset_ns, seed) for spec in specs)


def _shaped(shape: Shape, progress: FloatArray) -> FloatArray:
    if shape is Shape.LINEAR:
        return progress
    if shape is Shape.SMOOTH:
        return _smooth(progress)
    if shape is Shape.EXPONENTIAL:
        return _saturating(progress)
    return 1.0 - _saturating(1.0 - progress)


def _smooth(progress: FloatArray) -> FloatArray:
    return progress * progress * (3.0 - 2.0 * progress)


def _saturating(progress: FloatArray) -> FloatArray:
    return (1.0 - exp_each(-4.0 * progress)) / (1.0 - exp_each(np.array([-4.0])))


def _power(base: FloatArray, exponent: float) -> FloatArray:
    return exp_each(exponent * log_each(base))
