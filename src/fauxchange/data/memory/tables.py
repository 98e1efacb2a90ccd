"""Ordered records in memory, in bounded numbers."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Generic, TypeVar

from fauxchange.data.queries import Position, Span

Record = TypeVar("Record")


class _Series(Generic[Record]):
    """Records by position: two lists in step, because most records are added at the end."""

    def __init__(self) -> None:
        self.positions: list[Position] = []
        self.records: list[Record] = []

    def put(self, position: Position, record: Record) -> None:
        index = len(self.positions)
        if self.positions and position <= self.positions[-1]:
            index = bisect_left(self.positions, position)
            if self.positions[index] == position:
                self.records[index] = record
                return
        self.positions.insert(index, position)
        self.records.insert(index, record)

    def find(self, position: Position) -> int | None:
        index = bisect_left(self.positions, position)
        return index if index < len(self.positions) and self.positions[index] == position else None

    def drop_first(self, count: int) -> list[Record]:
        dropped = self.records[:count]
        del self.positions[:count]
        del self.records[:count]
        return dropped


class MemoryTable(Generic[Record]):
    """Records in series (of one symbol, say), each in the order of its positions.

    About `capacity` records are kept: when a series outgrows its share by a tenth, its oldest records are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._series: dict[Hashable, _Series[Record]] = {}

    def put(self, key: Hashable, position: Position, record: Record) -> None:
        """Store a record, or replace the one at its position."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.put(position, record)

    def trim(self, key: Hashable) -> list[Record]:
        """Drop what a series holds beyond its share; return it."""
        series = self._series[key]
        share = max(1, self._capacity // len(self._series))
        excess = len(series.records) - share
        return series.drop_first(excess) if excess > share // 10 else []

    def get(self, key: Hashable, position: Position) -> Record | None:
        """Return the record at a position."""
        series = self._series.get(key)
        if series is None:
            return None
        index = series.find(position)
        return None if index is None else series.records[index]

    def newest(self, key: Hashable) -> Record | None:
        """Return the record of the greatest position."""
        series = self._series.get(key)
        return series.records[-1] if series and series.records else None

    def read(self, key: Hashable, span: Span) -> list[Record]:
        """Return the first `limit + 1` records of a span."""
        series = self._series.get(key)
        if series is None:
            return []
        first = bisect_right(series.positions, span.low)
        end = max(first, bisect_left(series.positions, span.high))
        if span.newest_first:
            return series.records[max(first, end - span.limit - 1) : end][::-1]
        return series.records[first : min(end, first + span.limit + 1)]

    def select(self, key: Hashable, span: Span, matches: Callable[[Record], bool]) -> list[Record]:
        """Return the first `limit + 1` records of a span that match."""
        series = self._series.get(key)
        if series is None:
            return []
        first = bisect_right(series.positions, span.low)
        within = range(first, bisect_left(series.positions, span.high))
        indexes = reversed(within) if span.newest_first else within
        matching = (series.records[index] for index in indexes if matches(series.records[index]))
        return list(islice(matching, span.limit + 1))

    def drop(self, key: Hashable, position: Position) -> None:
        """Drop the record at a position, if there is one."""
        series = self._series[key]
        index = series.find(position)
        if index is not None:
            del series.positions[index], series.records[index]

    def drop_before(self, key: Hashable, position: Position) -> list[Record]:
        """Drop the records at lesser positions than this; return them."""
        series = self._series[key]
        return series.drop_first(bisect_left(series.positions, position))

    def series(self) -> list[Hashable]:
        """Return the keys of all series."""
        return list(self._series)
