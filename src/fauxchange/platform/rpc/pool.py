"""The instances of one service, as one process calls it: who there is, who answers, and who is asked next.

A task follows where instances are; for each instance a task asks for its health and tells a breaker. So the loss of an
instance is known within a second although no call had to find out, and what opens a breaker closes it again: calls go
to instances whose breakers are closed, and probes are left to these tasks.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio
import structlog

from fauxchange.domain.errors import DeadlineExceeded, FauxchangeError, Unavailable, check
from fauxchange.platform.ports import DependencyHealth, DependencyStatus, HealthCheck
from fauxchange.platform.rpc.backoff import Chance, RetryPolicy
from fauxchange.platform.rpc.balancing import less_busy_of_two
from fauxchange.platform.rpc.breaker import BreakerLimits, BreakerState, Ticket, combined
from fauxchange.platform.rpc.client_metrics import WHOLE_PEER, ClientMetrics
from fauxchange.platform.rpc.failures import Asked, Ending, ending_of
from fauxchange.platform.rpc.instances import Find, Found, Instance, open_channel
from fauxchange.platform.rpc.methods import Peer

SECOND_LOOK_S = 0.02
"""Pause between a probe that failed and the next: one failure may be an accident, whether it is shows at once."""

_log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How long calls, probes and pauses may take.

    Units: seconds; with these values a silent instance is left after 0.9 s at most, and asked again within 1.3 s of
           its return
    """

    deadline_s: float = 5.0
    probe_interval_s: float = 0.25
    probe_timeout_s: float = 0.3
    refresh_interval_s: float = 2.0
    """How often it is looked which instances there are; sooner where one is lost or missing, but not more often than
    `least_refresh_s`."""
    least_refresh_s: float = 0.2
    unlisted_grace_s: float = 90.0
    """How long an instance that answers is kept though the registry does not list it: it may have been emptied."""
    drain_s: float = 5.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)


def _spawn(coroutine: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(coroutine, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all clients of a process share; tests put their own time, chance and channels here.

    `spawn` begins a background task, as `Supervisor.supervise` does.
    """

    metrics: ClientMetrics
    chance: Chance
    now_s: Callable[[], float] = time.monotonic
    open_channel: Callable[[str], Any] = open_channel
    spawn: Spawn = _spawn
    limits: ClientLimits = field(default_factory=ClientLimits)


class InstancePool:
    """The instances of one peer."""

    def __init__(self, peer: Peer, find: Find, surroundings: Surroundings) -> None:
        self.peer = peer
        self._find = find
        self._with = surroundings
        self._limits = surroundings.limits
        self._instances: dict[str, Instance] = {}
        self._watches: dict[str, asyncio.Task[Any]] = {}
        self._closing: set[asyncio.Task[Any]] = set()
        self._following: asyncio.Task[Any] | None = None
        self._look_now = asyncio.Event()
        self._registry_failure: str | None = None
        self._lost = False
        self._stopped = False

    async def start(self) -> None:
        """Find the instances there are, and follow who comes and goes. That there is none is no failure."""
        check(self._following is None, f"the client of {self.peer.name} is started once")
        await self._refresh()
        self._following = self._with.spawn(self._follow(), f"{self.peer.name} instances")

    async def stop(self) -> None:
        """Name no instance any more, end the streams, let calls under way end within the bound, release everything."""
        self._stopped = True
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        for target in tuple(self._instances):
            self._drop(target)
        if self._closing:
            await asyncio.wait(self._closing)

    # Who is asked, and what became of it

    def pick(self, tried: Collection[str] = ()) -> tuple[Instance, Ticket]:
        """Return who is asked next: one that answers, rather one that takes requests and is not among `tried`.

        Raises: Unavailable if there is none
        """
        now_s = self._with.now_s()
        if self._stopped:
            raise Unavailable(
                f"this process is stopping and calls {self.peer.name} no more", code="clients_stopped", retryable=False
            )
        closed = [each for each in self._instances.values() if each.breaker.state(now_s) is BreakerState.CLOSED]
        if not closed:
            self._look_now.set()
            raise self._nobody(now_s)

        def rank(instance: Instance) -> tuple[bool, bool]:
            return not instance.serving, instance.target in tried

        best = min(map(rank, closed))
        group = [instance for instance in closed if rank(instance) == best]
        chosen = less_busy_of_two(group, lambda instance: instance.outstanding, self._with.chance)
        ticket = chosen.breaker.admit(now_s)
        check(ticket is not None, "a closed breaker lets calls through")
        return chosen, cast("Ticket", ticket)

    def answered(self, instance: Instance, ticket: Ticket) -> None:
        """Take note that an instance has answered."""
        instance.last_answer_s = self._with.now_s()
        instance.breaker.succeed(ticket, instance.last_answer_s)

    def ended(self, instance: Instance, ticket: Ticket, ending: Ending, wait_s: float | None) -> None:
        """Take note how a call went wrong that could have taken `wait_s` seconds."""
        if ending.answered:
            self.answered(instance, ticket)
        elif isinstance(ending.failure, DeadlineExceeded) and (wait_s or 0.0) < self._limits.probe_timeout_s:
            # Who has no time to wait learns nothing about the one who was asked.
            instance.breaker.abandon(ticket)
        else:
            instance.breaker.fail(ticket, self._with.now_s())
        if ending.going:
            self._set_serving(instance, serving=False)
            self._look_now.set()

    # How it is

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that are known, by address."""
        return [self._instances[target] for target in sorted(self._instances)]

    def state(self) -> BreakerState:
        """Return the state of the peer as a whole: closed while one of its instances takes calls."""
        now_s = self._with.now_s()
        return combined(instance.breaker.state(now_s) for instance in self._instances.values())

    def health_check(self, *, required: bool = False) -> HealthCheck:
        """Return what the health registry asks; `required` says that the service cannot do without the peer."""
        return lambda: self._health(required=required)

    def _health(self, *, required: bool) -> DependencyHealth:
        now_s = self._with.now_s()
        silent = [each for each in self.instances if each.breaker.state(now_s) is not BreakerState.CLOSED]
        idle = [each for each in self.instances if not each.serving and each not in silent]
        usable = len(self._instances) - len(silent) - len(idle)
        told = [f"{each.target} has not answered for {now_s - each.last_answer_s:.0f} s" for each in silent]
        told += [f"{each.target} says that it is not serving" for each in idle]
        if not self._instances:
            told.append(self._nobody_text())
        if self._registry_failure is not None:
            told.append(f"the registry is away ({self._registry_failure}), so new instances are not found")
        if usable and not told:
            return DependencyHealth(DependencyStatus.OK, required=required)
        status = DependencyStatus.DEGRADED if usable else DependencyStatus.DOWN
        return DependencyHealth(status, "; ".join(told), required=required)

    def _nobody(self, now_s: float) -> Unavailable:
        if not self._instances:
            return Unavailable(f"{self.peer.name}: {self._nobody_text()}", code="no_instance", retry_after_s=1)
        silent = ", ".join(f"{each.target} for {now_s - each.last_answer_s:.1f} s" for each in self.instances)
        return Unavailable(
            f"{self.peer.name}: no instance answers ({silent}); calls go through again as soon as one does",
            code="circuit_open",
            retry_after_s=1,
        )

    def _nobody_text(self) -> str:
        if self._registry_failure is not None:
            return "no instance is known"
        name = self.peer.name
        return (
            f"no instance is registered; start one with `fauxchange serve {name}` on the same REDIS_URL, "
            f"or name its address with {address_setting(name)}"
        )

    # Who comes and goes

    async def _follow(self) -> None:
        limits = self._limits
        while True:
            await asyncio.sleep(limits.least_refresh_s)
            try:
                async with asyncio.timeout(limits.refresh_interval_s - limits.least_refresh_s):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            found = await self._find()
        except FauxchangeError as exc:
            if self._registry_failure is None:
                _log.warning("registry away", peer=self.peer.name, error=exc.message)
            self._registry_failure = exc.message
            self._note()
            return
        if self._registry_failure is not None:
            _log.info("registry back", peer=self.peer.name)
            self._registry_failure = None
        now_s = self._with.now_s()
        for each in found:
            self._take(each, now_s)
        listed = {each.target for each in found}
        for target, instance in tuple(self._instances.items()):
            if target not in listed and self._has_gone(instance, now_s):
                self._drop(target)
        self._note()

    def _take(self, found: Found, now_s: float) -> None:
        known = self._instances.get(found.target)
        if known is not None:
            known.name, known.unlisted_since_s = found.name, None
            return
        instance = Instance(
            found,
            self._with.open_channel(found.target),
            breaker=self._limits.breaker,
            on_change=self._breaker_changed,
            now_s=now_s,
        )
        self._instances[found.target] = instance
        self._with.metrics.show_breaker(self.peer.name, found.target, BreakerState.CLOSED)
        watch = self._with.spawn(self._watch(instance), f"{self.peer.name} at {found.target}")
        self._watches[found.target] = watch
        _log.info("instance found", peer=self.peer.name, target=found.target, peer_instance=found.name)

    def _has_gone(self, instance: Instance, now_s: float) -> bool:
        if instance.unlisted_since_s is None:
            instance.unlisted_since_s = now_s
        return not instance.is_usable(now_s) or now_s - instance.unlisted_since_s > self._limits.unlisted_grace_s

    def _drop(self, target: str) -> None:
        instance, watch = self._instances.pop(target), self._watches.pop(target)
        watch.cancel()
        self._with.metrics.forget(self.peer.name, target)
        _log.info("instance gone", peer=self.peer.name, target=target)
        closing = self._with.spawn(self._close(instance, watch), f"{self.peer.name} closes {target}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, instance: Instance, watch: "asyncio.Task[Any]") -> None:
        await asyncio.wait({watch})
        await instance.close(self._limits.drain_s)

    # Probes

    async def _watch(self, instance: Instance) -> None:
        """Ask an instance for its health, again and again, and tell its breaker."""
        while True:
            now_s = self._with.now_s()
            ticket = instance.breaker.admit(now_s)
            if ticket is None:
                await asyncio.sleep(max(SECOND_LOOK_S, instance.breaker.wait_s(now_s)))
                continue
            answered = await self._probe(instance, ticket)
            await asyncio.sleep(self._limits.probe_interval_s if answered else SECOND_LOOK_S)

    async def _probe(self, instance: Instance, ticket: Ticket) -> bool:
        asked = Asked(peer=self.peer.name, target=instance.target, method="Health/Check", repeatable=True)
        try:
            serving = await instance.ask_health(self.peer.health_name, self._limits.probe_timeout_s)
        except grpc.aio.AioRpcError as exc:
            ending = ending_of(exc, asked)
            if not ending.answered:
                instance.breaker.fail(ticket, self._with.now_s())
                return False
            # Somebody is there; a server without health may serve, one that does not know the service does not.
            serving = not ending.going and exc.code() is not grpc.StatusCode.NOT_FOUND
        except asyncio.CancelledError:
            instance.breaker.abandon(ticket)
            raise
        self.answered(instance, ticket)
        self._set_serving(instance, serving=serving)
        return True

    def _set_serving(self, instance: Instance, *, serving: bool) -> None:
        if serving != instance.serving:
            instance.serving = serving
            event = "instance serves" if serving else "instance does not serve"
            _log.info(event, peer=self.peer.name, target=instance.target)
            self._note()

    def _breaker_changed(self, instance: Instance, state: BreakerState) -> None:
        name, metrics = self.peer.name, self._with.metrics
        if instance.target not in self._instances:
            return
        metrics.count_change(name, state)
        metrics.show_breaker(name, instance.target, state)
        if state is BreakerState.OPEN:
            if not instance.lost:
                instance.lost = True
                _log.warning("instance does not answer", peer=name, target=instance.target)
            self._look_now.set()
            instance.give_up_reads()
            now_s = self._with.now_s()
            if any(other.is_usable(now_s) for other in self._instances.values()):
                instance.give_up_streams()
        elif state is BreakerState.CLOSED:
            instance.lost = False
            _log.info("instance answers again", peer=name, target=instance.target)
        self._note()

    def _note(self) -> None:
        """Show how the peer is as a whole, and say so where that has changed."""
        name, now_s = self.peer.name, self._with.now_s()
        usable = sum(instance.is_usable(now_s) for instance in self._instances.values())
        self._with.metrics.show_breaker(name, WHOLE_PEER, self.state())
        self._with.metrics.know(name, len(self._instances), usable)
        lost = usable == 0 and not self._stopped
        if lost and not self._lost:
            _log.warning("peer lost", peer=name, instances=len(self._instances))
        elif self._lost and not lost:
            _log.info("peer back", peer=name, instances=usable)
        self._lost = lost


def address_setting(name: str) -> str:
    """Return the name of the setting that gives a service's addresses where there is no registry."""
    return f"{name.upper().replace('-', '_')}_GRPC"
