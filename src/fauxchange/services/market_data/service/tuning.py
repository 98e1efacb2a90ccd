"""Parameters that change while the feed runs: applied between two steps, each change an event of the audit trail."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import structlog

from fauxchange.domain.times import NS_PER_S, format_duration
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.ports import Clock, MetricsPort
from fauxchange.services.market_data.core.feed_parameters import (
    INTERVAL,
    MODEL,
    SPREAD,
    VOLATILITY,
    FeedParameters,
    Ignored,
    read_parameters,
)
from fauxchange.services.market_data.ports import RuntimeParameters
from fauxchange.services.market_data.service.market import Market

ACTOR = "configuration"
MOST_INTERPRETED_PER_S = 2_000
"""Prices a (wall) second that a model which is not compiled may be asked for; the start chooses which one runs."""

log = structlog.get_logger(__name__)


class TunableSource(Protocol):
    """A model whose step length, volatilities and parameters can be changed."""

    is_compiled: bool

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The parameters by symbol that are other than at the start."""
        ...

    def tune(
        self,
        *,
        interval_ns: int,
        volatility: Mapping[str, float],
        models: Mapping[str, Mapping[str, Any]],
        now_ns: int,
    ) -> None:
        """Change them for every step that has not been handed out yet."""
        ...


class TuningMetrics:
    """Count changes of parameters. Labels: the parameter without its symbol."""

    def __init__(self, metrics: MetricsPort) -> None:
        self.changed = metrics.counter(
            "feed_parameter_changes_total", "Parameters of the feed changed at run time.", ("parameter",)
        )
        self.ignored = metrics.counter(
            "feed_parameters_ignored_total",
            "Values of the configuration that mean nothing to the feed.",
            ("parameter",),
        )


class FeedTuner:
    """Bring the feed to what the configuration says.

    Everything here happens in one go, so no step sees half of a change. `speed` is venue time against wall time.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        model: TunableSource | None,
        defaults: FeedParameters,
        *,
        reschedule: Callable[[], None],
        speed: float,
        trail: AuditTrail,
        clock: Clock,
        metrics: MetricsPort,
    ) -> None:
        self._markets = markets
        self._model = model
        self._defaults = defaults
        self._reschedule = reschedule
        self._speed = speed
        self._trail = trail
        self._clock = clock
        self._metrics = TuningMetrics(metrics)
        self._ignored: dict[str, Ignored] = {}
        self.version = 0
        self.parameters = defaults
        """What holds at present."""

    async def follow(self, source: RuntimeParameters) -> None:
        """Apply what a source tells, for as long as it tells something."""
        async for told in source.changes():
            self.apply(told.version, told.values)
            await self._trail.flush_quietly()

    def apply(self, version: int, values: Mapping[str, Any]) -> None:
        """Let the values of a version hold from the next price on."""
        wanted, ignored = read_parameters(values, tuple(self._markets), self._defaults)
        too_quick = self._too_quick(wanted)
        if too_quick is not None:
            ignored.append(too_quick)
            wanted = replace(wanted, interval_ns=self.parameters.interval_ns)
        self._tell_ignored(ignored)
        before, self.parameters, self.version = self.parameters, wanted, version
        earlier = dict(before.items())
        changed = [(name, earlier[name], value) for name, value in wanted.items() if value != earlier[name]]
        for name, old, new in changed:
            self._metrics.changed.inc(1, _stem(name))
            self._trail.record(
                "feed.parameter_changed",
                actor=ACTOR,
                subject=name,
                data={"before": _written(name, old), "after": _written(name, new), "version": version},
            )
            log.info("feed_parameter_changed", parameter=name, before=_written(name, old), after=_written(name, new))
        for symbol, spread_bps in wanted.spread_bps.items():
            if spread_bps != before.spread_bps[symbol]:
                market = self._markets[symbol]
                market.spread = market.spread.at(spread_bps)
        if self._model is None:
            return
        # A model that goes on from a stored state goes on with the parameters of then.
        if wanted.models != self._model.models or any(_stem(name) != SPREAD for name, _, _ in changed):
            self._model.tune(
                interval_ns=wanted.interval_ns,
                volatility=wanted.volatility,
                models=wanted.models,
                now_ns=self._clock.now_ns(),
            )
            if wanted.interval_ns != before.interval_ns:
                self._reschedule()

    def _too_quick(self, wanted: FeedParameters) -> Ignored | None:
        if self._model is None or self._model.is_compiled or wanted.interval_ns >= self.parameters.interval_ns:
            return None
        per_s = len(wanted.volatility) * self._speed * NS_PER_S / wanted.interval_ns
        if not MOST_INTERPRETED_PER_S < per_s < float("inf"):
            return None
        return Ignored(
            INTERVAL,
            format_duration(wanted.interval_ns),
            f"{per_s:.0f} prices a second are too many for the model as it runs; start with MODEL_ENGINE=compiled",
        )

    def _tell_ignored(self, ignored: list[Ignored]) -> None:
        """Say once what is ignored and why."""
        for each in ignored:
            if self._ignored.get(each.key) != each:
                self._metrics.ignored.inc(1, _stem(each.key))
                log.warning("feed_parameter_ignored", parameter=each.key, value=each.value, reason=each.reason)
        self._ignored = {each.key: each for each in ignored}


def _stem(name: str) -> str:
    stem = name.partition(".")[0]
    return stem if stem in {SPREAD, VOLATILITY, INTERVAL, MODEL} else "unknown"


def _written(name: str, value: Any) -> str:
    if _stem(name) == MODEL:
        return "as at the start" if value is None else json.dumps(value, separators=(",", ":"))
    return format_duration(int(value)) if name == INTERVAL else f"{value:g}"
