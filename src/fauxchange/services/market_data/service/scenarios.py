"""The director of scenarios: what is on the timeline, what of it has begun, and who hears of it.

Scheduling, the start, each phase and the end are events: numbered on the `scenario` stream and recorded in the audit
trail. They are noticed before the first step that they bend, so a reader hears of a crash before its first price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from fauxchange.contracts.market_data.messages import ScenarioEventMessage, ScenarioMessage
from fauxchange.contracts.market_data.render import batch_element, time_text
from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.domain.errors import Conflict, NotFound
from fauxchange.domain.market_data import FeedSource
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.ports import Clock
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import ANY_SYMBOL, EventTopic, StreamMessage
from fauxchange.services.market_data.core.scenarios import Scenario, ScenarioSpec, Timeline
from fauxchange.services.market_data.service.channels import MESSAGE_TYPES, SCENARIO, frame_json
from fauxchange.services.market_data.service.feed import unknown_symbol
from fauxchange.services.market_data.service.market import Market

Status = Literal["scheduled", "active", "ended", "cancelled"]
Event = Literal["scheduled", "started", "phase", "ended", "cancelled"]

KEPT_EVENTS = 1_024
FINISHED_KEPT = 100


class BendablePrices(Protocol):
    """A source whose prices scenarios can bend."""

    def schedule(self, timeline: Timeline) -> None:
        """Let these scenarios act on every step that has not been handed out yet."""
        ...


@dataclass(slots=True)
class Run:
    """One scenario on the timeline, and how far it has come."""

    scenario: Scenario
    symbols: tuple[str, ...]
    actor: str
    status: Status = "scheduled"
    phase: str | None = None
    cancelled_ns: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in {"ended", "cancelled"}

    def message(self) -> ScenarioMessage:
        """Return the run as a message."""
        spec = self.scenario.spec
        return ScenarioMessage(
            scenario_id=spec.id,
            kind=spec.kind.value,
            symbols=list(self.symbols),
            status=self.status,
            phase=self.phase,
            start_time=time_text(self.scenario.start_ns),
            end_time=time_text(self.scenario.end_ns if self.cancelled_ns is None else self.cancelled_ns),
            magnitude=f"{spec.magnitude:.10f}".rstrip("0").rstrip("."),
            specification=spec.mapping(),
        )


class ScenarioCodec:
    """Scenario events on the wire."""

    def json(self, message: StreamMessage) -> bytes:
        """Return the message as one JSON object."""
        if isinstance(message.data, ScenarioEventMessage):
            return frame_json(message, message.data)
        return frame_json(message, {"scenarios": message.data})

    def proto(self, message: StreamMessage) -> bytes:
        """Return the message as one element of a ScenarioBatch."""
        update = pb.ScenarioUpdate(
            epoch=message.topic.epoch,
            first_sequence=message.first_sequence,
            sequence=message.sequence,
            type=MESSAGE_TYPES[message.type],
        )
        if isinstance(message.data, ScenarioEventMessage):
            update.event = message.data.event
            update.timestamp.FromJsonString(message.data.timestamp)
            _fill(update.scenarios.add(), message.data.scenario)
        else:
            update.event = "snapshot"
            for scenario in message.data:
                _fill(update.scenarios.add(), scenario)
        return batch_element(update.SerializeToString())


class ScenarioDirector:
    """Schedule scenarios, follow them through their phases, and end them."""

    def __init__(
        self,
        targets: Sequence[BendablePrices],
        markets: Mapping[str, Market],
        *,
        hub: Hub,
        trail: AuditTrail,
        clock: Clock,
        epoch: int,
        sequence: int,
        seed: int,
    ) -> None:
        self._targets = targets
        self._markets = markets
        self._hub = hub
        self._trail = trail
        self._clock = clock
        self._seed = seed
        self._runs: dict[str, Run] = {}
        self._next_change_ns: int | None = None
        self._last_step_ns = 0
        self.topic = EventTopic(
            SCENARIO,
            ANY_SYMBOL,
            epoch=epoch,
            codec=ScenarioCodec(),
            keep=KEPT_EVENTS,
            sequence=sequence,
            state=lambda: [run.message() for run in self._runs.values() if not run.is_over],
        )

    # What operators ask

    async def start(self, specs: Sequence[ScenarioSpec], *, actor: str) -> list[Run]:
        """Put scenarios on the timeline, all or none; offsets count from now.

        Raises: Conflict if an id is in use or a symbol is not modelled, NotFound if a symbol is unknown
        """
        symbols = [self._symbols(spec) for spec in specs]
        taken = {name for name, run in self._runs.items() if not run.is_over}
        for spec in specs:
            if spec.id in taken:
                raise Conflict(
                    f"a scenario {spec.id} is on the timeline already", code="duplicate_scenario", field="id"
                )
            taken.add(spec.id)
        # What has been published cannot be bent any more: a scenario that starts now starts after the last price.
        origin_ns = max(self._clock.now_ns(), self._last_step_ns)
        runs = []
        for spec, named in zip(specs, symbols, strict=True):
            self._runs.pop(spec.id, None)
            run = Run(Scenario(spec, origin_ns + spec.start_offset_ns, self._seed), named, actor)
            self._runs[spec.id] = run
            runs.append(run)
        self._reschedule()
        for run in runs:
            self._tell("scheduled", run, actor=actor)
        self._forget_finished()
        await self._trail.flush_quietly()
        return runs

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all scenarios known."""
        return frozenset(self._runs)

    def runs(self) -> list[Run]:
        """Return all scenarios known: scheduled, active, and the last that ended or were cancelled."""
        return list(self._runs.values())

    def run(self, scenario_id: str) -> Run:
        """Return one scenario. Raises: NotFound."""
        run = self._runs.get(scenario_id)
        if run is None:
            raise NotFound(f"there is no scenario {scenario_id}", code="unknown_scenario", field="scenario_id")
        return run

    async def cancel(self, scenario_id: str, *, actor: str) -> Run:
        """End a scenario now: what it did to prices stays, it does nothing more.

        Raises: NotFound, Conflict if it is over
        """
        run = self.run(scenario_id)
        if run.is_over:
            raise Conflict(f"the scenario {scenario_id} is over", code="scenario_over", field="scenario_id")
        self._cancel(run, actor)
        self._reschedule()
        await self._trail.flush_quietly()
        return run

    async def cancel_all(self, *, actor: str) -> list[Run]:
        """End every scenario that is scheduled or active; return them."""
        runs = [run for run in self._runs.values() if not run.is_over]
        for run in runs:
            self._cancel(run, actor)
        self._reschedule()
        await self._trail.flush_quietly()
        return runs

    # What time brings

    def before_step(self, ts_ns: int) -> None:
        """Notice what begins or ends by the step at `ts_ns`."""
        self._last_step_ns = max(self._last_step_ns, ts_ns)
        if self._next_change_ns is None or ts_ns <= self._next_change_ns:
            return
        over = False
        for run in self._runs.values():
            if not run.is_over:
                over |= self._follow(run, ts_ns)
        if over:
            self._reschedule()
        else:
            self._plan()
        self._forget_finished()

    def _follow(self, run: Run, ts_ns: int) -> bool:
        """Tell what has happened to a run by `ts_ns`, every phase in turn; return whether it is over."""
        scenario = run.scenario
        if ts_ns <= scenario.start_ns:
            return False
        if run.status == "scheduled":
            run.status = "active"
            self._tell("started", run, actor=run.actor)
        names = [phase.name for phase in scenario.phases]
        reached = sum(phase.start_ns < ts_ns for phase in scenario.phases)
        first = 0 if run.phase is None else names.index(run.phase) + 1
        for name in names[first:reached]:
            run.phase = name
            self._tell("phase", run, actor=run.actor)
        if ts_ns > scenario.end_ns:
            run.status, run.phase = "ended", None
            self._tell("ended", run, actor=run.actor)
            return True
        return False

    def _cancel(self, run: Run, actor: str) -> None:
        run.status, run.phase, run.cancelled_ns = "cancelled", None, self._clock.now_ns()
        self._tell("cancelled", run, actor=actor)

    def _reschedule(self) -> None:
        timeline = Timeline(tuple(run.scenario for run in self._runs.values() if not run.is_over))
        for target in self._targets:
            target.schedule(timeline)
        self._plan()

    def _plan(self) -> None:
        """Work out after which time something changes next; most steps then cost one comparison."""
        self._next_change_ns = min(
            (
                ts_ns
                for run in self._runs.values()
                if not run.is_over
                for phase in run.scenario.phases
                for ts_ns in (phase.start_ns, phase.end_ns)
                if ts_ns >= self._last_step_ns
            ),
            default=None,
        )

    def _tell(self, event: Event, run: Run, *, actor: str) -> None:
        message = run.message()
        now = self._clock.now_ns()
        body = ScenarioEventMessage(event=event, timestamp=time_text(now), scenario=message)
        numbered = self.topic.number("event", body)
        self.topic.keep(numbered)
        self._trail.record(
            f"scenario.{event}",
            actor=actor,
            subject=run.scenario.spec.id,
            data={"phase": run.phase, "symbols": list(run.symbols), "specification": run.scenario.spec.mapping()},
        )
        self._hub.publish([numbered])

    def _symbols(self, spec: ScenarioSpec) -> tuple[str, ...]:
        modelled = [name for name, market in self._markets.items() if market.source is FeedSource.SIMULATOR]
        for symbol in (*spec.symbols, *spec.against):
            market = self._markets.get(symbol)
            if market is None:
                raise unknown_symbol(symbol, self._markets)
            if market.source is not FeedSource.SIMULATOR:
                raise Conflict(
                    f"{symbol} is {market.source.value} data; only modelled prices can be bent "
                    f"({', '.join(modelled) or 'there are none'})",
                    code="symbol_not_modelled",
                    field="symbols",
                )
        if not modelled:
            raise Conflict(
                "no symbol is modelled, so no price can be bent", code="symbol_not_modelled", field="symbols"
            )
        named = {*spec.symbols, *spec.against} or set(modelled)
        return tuple(name for name in modelled if name in named)

    def _forget_finished(self) -> None:
        finished = [name for name, run in self._runs.items() if run.is_over]
        for name in finished[: max(0, len(finished) - FINISHED_KEPT)]:
            del self._runs[name]


def _fill(scenario: pb.Scenario, message: ScenarioMessage) -> None:
    scenario.scenario_id = message.scenario_id
    scenario.kind = message.kind
    scenario.symbols.extend(message.symbols)
    scenario.status = message.status
    scenario.phase = message.phase or ""
    scenario.start_time.FromJsonString(message.start_time)
    scenario.end_time.FromJsonString(message.end_time)
    scenario.magnitude = message.magnitude
    scenario.specification = msgspec.json.encode(message.specification).decode()
