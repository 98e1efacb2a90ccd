"""Venue times: integer nanoseconds since 1970 inside, RFC 3339 UTC at the edges, and written durations."""

import re
from datetime import UTC, datetime

from fauxchange.domain.errors import InvalidRequest

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR

_UNITS_NS = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": NS_PER_MINUTE,
    "h": NS_PER_HOUR,
    "d": NS_PER_DAY,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|z|[+-]\d{2}:\d{2})")


def format_time(ts_ns: int) -> str:
    """Return `ts_ns` as RFC 3339 UTC with microseconds and `Z`.

    Units: ts_ns in nanoseconds since 1970; what lies below a microsecond is cut off
    """
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // NS_PER_US:06d}Z"


def parse_time(text: str, *, field: str | None = None) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 time or of a bare date (midnight UTC).

    Raises: InvalidRequest if the text is neither
    """
    stripped = text.strip()
    try:
        if len(stripped) == 10:
            return int(datetime.fromisoformat(stripped).replace(tzinfo=UTC).timestamp()) * NS_PER_S
        match = _RFC3339.fullmatch(stripped)
        if match is None:
            raise ValueError(stripped)
        date, clock, fraction, zone = match.groups()
        moment = datetime.fromisoformat(f"{date}T{clock}{zone.upper().replace('Z', '+00:00')}")
        return int(moment.timestamp()) * NS_PER_S + int((fraction or "0").ljust(9, "0"))
    except (ValueError, OverflowError) as exc:
        raise InvalidRequest(
            f"{text!r} is not a time; write it as 2026-01-31T12:00:00Z", code="invalid_time", field=field
        ) from exc


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a written duration such as `300s`, `1m30s`, `250ms`, `1.5h`.

    Raises: InvalidRequest if the text is not a duration
    """
    stripped = text.strip()
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise InvalidRequest(
            f"{text!r} is not a duration; write it as 300s, 1m, 250ms or 1m30s", code="invalid_duration"
        )
    return sum(_scaled(number, _UNITS_NS[unit]) for number, unit in parts)


def format_duration(duration_ns: int) -> str:
    """Return `duration_ns` in the largest units that express it exactly, as `parse_duration` reads it."""
    if duration_ns == 0:
        return "0s"
    parts = []
    rest = duration_ns
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS_NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _scaled(number: str, unit_ns: int) -> int:
    # Whole and fractional digits apart, so that no float rounds a nanosecond away.
    whole, _, fraction = number.partition(".")
    result = int(whole) * unit_ns
    if fraction:
        result += int(fraction) * unit_ns // 10 ** len(fraction)
    return result
