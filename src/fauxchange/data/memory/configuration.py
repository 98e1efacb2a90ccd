"""Configuration in memory: every change, for as long as the process lasts."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from fauxchange.data.documents import copy_document
from fauxchange.data.ports import ConfigurationQuery, Page
from fauxchange.data.queries import check_versions, configuration_span, position_of
from fauxchange.domain.configuration import ConfigurationChange


class MemoryConfiguration:
    """Changes in the order of their versions; people make them, so they are few."""

    def __init__(self) -> None:
        self._changes: list[ConfigurationChange] = []

    async def append(self, changes: Sequence[ConfigurationChange]) -> None:
        """Store changes, all or none."""
        kept = [replace(change, content=copy_document(change.content, field="content")) for change in changes]
        check_versions(kept, len(self._changes))
        self._changes += kept

    async def current(self) -> Sequence[ConfigurationChange]:
        """Return the last change of every key."""
        last = {(change.service, change.environment, change.key): change for change in self._changes}
        return sorted(last.values(), key=attrgetter("version"))

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        """Return a page of changes."""
        span = configuration_span(query)
        first = bisect_right(self._changes, span.low, key=_position)
        within: Iterable[ConfigurationChange] = (
            change for change in islice(self._changes, first, None) if _position(change) < span.high
        )
        if span.newest_first:
            within = reversed(list(within))
        found = list(islice((change for change in within if _matches(change, query)), span.limit + 1))
        return span.page(found, _position)


_position = position_of("version")


def _matches(change: ConfigurationChange, query: ConfigurationQuery) -> bool:
    return (change.service, change.environment) == (query.service, query.environment) and (
        query.key is None or change.key == query.key
    )
