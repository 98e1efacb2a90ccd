"""The venue's clock in the audit API: look at it, and drive it where it is virtual."""

import math
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.market_data.messages import TimeText
from fauxchange.domain.errors import Conflict, InvalidRequest
from fauxchange.domain.times import NS_PER_S, format_time, parse_duration, parse_time
from fauxchange.platform.clock import VirtualClock, WallClock
from fauxchange.platform.http.problems import problem_responses

TAGS = ["clock"]
MAX_RUN_NS = 7 * 86_400 * NS_PER_S


class ClockState(msgspec.Struct, kw_only=True):
    """The venue's clock: what it says, and how fast it runs (`max` is as fast as the work allows)."""

    kind: Literal["wall", "virtual"]
    time: TimeText
    paused: bool
    speed: float | Literal["max"]


class ClockCommand(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the clock is to do.

    `step` wants `duration`, `run_until` wants `until`; both answer when everything due by then is done. `speed` wants
    `speed`.
    """

    action: Literal["pause", "resume", "step", "run_until", "speed"]
    duration: str | None = None
    until: str | None = None
    speed: Annotated[float, msgspec.Meta(gt=0)] | Literal["max"] | None = None


def clock_routes(clock: WallClock | VirtualClock) -> list[ControllerRouterHandler]:
    """Return the routes of the clock."""

    @get("/clock", tags=TAGS, sync_to_thread=False)
    def clock_state() -> ClockState:
        """Return what the venue's clock says and how it runs."""
        return _state(clock)

    @post("/clock", status_code=200, tags=TAGS, responses=problem_responses(409))
    async def drive_clock(data: JSONBody[ClockCommand]) -> ClockState:
        """Pause a virtual clock, let it go on, step it, run it ahead, or change its speed."""
        if isinstance(clock, WallClock):
            raise Conflict(
                "venue time is wall time; start with --speed or --start-time for a virtual clock",
                code="clock_not_virtual",
            )
        match data.action:
            case "pause":
                clock.pause()
            case "resume":
                clock.resume()
            case "speed":
                if data.speed is None:
                    raise _missing("speed")
                clock.set_speed(math.inf if data.speed == "max" else data.speed)
            case "step":
                duration_ns = parse_duration(_wanted(data.duration, "duration"))
                await clock.run_until(clock.now_ns() + _bounded(duration_ns, "duration"))
            case "run_until":
                until_ns = parse_time(_wanted(data.until, "until"), field="until")
                _bounded(until_ns - clock.now_ns(), "until")
                await clock.run_until(until_ns)
        return _state(clock)

    return [clock_state, drive_clock]


def _state(clock: WallClock | VirtualClock) -> ClockState:
    if isinstance(clock, WallClock):
        return ClockState(kind="wall", time=format_time(clock.now_ns()), paused=False, speed=1.0)
    speed: float | Literal["max"] = "max" if math.isinf(clock.speed) else clock.speed
    return ClockState(kind="virtual", time=format_time(clock.now_ns()), paused=clock.paused, speed=speed)


def _wanted(value: str | None, field: str) -> str:
    if value is None:
        raise _missing(field)
    return value


def _missing(field: str) -> InvalidRequest:
    return InvalidRequest(f"this action wants {field}", code="missing_field", field=field)


def _bounded(duration_ns: int, field: str) -> int:
    if duration_ns > MAX_RUN_NS:
        raise InvalidRequest("the clock runs ahead by at most 7 days at once", code="out_of_range", field=field)
    return duration_ns
