"""What crosses to the process that writes, to become rows there: columns, and records of the trail to be chained.

The writer imports this module and no more for it, so it knows statements by their text alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from fauxchange.data.sqlite.transactions import Executor
from fauxchange.domain.trail import GENESIS, OpenBlock

Source = int | tuple[int, Sequence[str]] | None
"""Where a column comes from: numbers, by their index; names that such numbers stand for; or (None) the texts."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows, made when somebody iterates over them; a row has what each of `sources` says."""

    numbers: Sequence[bytes]
    width: int
    texts: bytes
    sources: Sequence[Source]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        numbers = np.frombuffer(b"".join(self.numbers), dtype=np.int64).reshape(-1, self.width).T.tolist()
        return zip(*(self._column(source, numbers) for source in self.sources), strict=True)

    def _column(self, source: Source, numbers: list[list[int]]) -> Sequence[Any]:
        if source is None:
            texts: list[str | None] = msgspec.msgpack.decode(self.texts)
            return texts
        if isinstance(source, int):
            return numbers[source]
        index, names = source
        return [names[number] for number in numbers[index]]


@dataclass(frozen=True, slots=True)
class StoreBlock:
    """Store records of the trail behind those that are there, whose hash the statement `before` gives."""

    block: OpenBlock
    before: tuple[str, Mapping[str, Any]]
    store: str

    def __call__(self, connection: Executor) -> None:
        """Chain, pack and store the block, in the transaction that is under way."""
        found = connection.execute(*self.before).fetchall()
        stored = self.block.pack(bytes.fromhex(found[0][0]) if found else GENESIS)
        connection.execute(self.store, {name: getattr(stored, name) for name in stored.__struct_fields__})
