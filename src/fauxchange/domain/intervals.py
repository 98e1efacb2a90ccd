"""The candle intervals of the venue."""

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S

INTERVALS_NS = {
    "1s": NS_PER_S,
    "1m": NS_PER_MINUTE,
    "5m": 5 * NS_PER_MINUTE,
    "15m": 15 * NS_PER_MINUTE,
    "1h": 60 * NS_PER_MINUTE,
    "1d": 24 * 60 * NS_PER_MINUTE,
}
"""Name of each interval and its length, shortest first; each divides the next."""

INTERVAL_NAMES = {interval_ns: name for name, interval_ns in INTERVALS_NS.items()}


def parse_interval(text: str) -> int:
    """Return the length in nanoseconds of a candle interval.

    Raises: InvalidRequest with code `invalid_interval` if the venue makes no such candles
    """
    try:
        return INTERVALS_NS[text]
    except KeyError:
        raise InvalidRequest(
            f"{text!r} is not a candle interval; the venue makes {', '.join(INTERVALS_NS)}",
            code="invalid_interval",
            field="interval",
        ) from None
