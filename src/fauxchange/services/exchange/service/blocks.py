"""Rows of commands packed by column, as the journal keeps those of a block.

A column that is the same in every row is one number; of the others the distances from the smallest are kept, in as few
bytes as the largest of them needs. The sequence is not kept: it goes on from that of the first row.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fauxchange.domain.errors import DamagedJournal
from fauxchange.services.exchange.core.layout import C_SEQUENCE, COMMAND_WIDTH, Int64Array
from fauxchange.services.exchange.core.packing import write_columns

_HEAD: Final = struct.Struct("<HI")
"""Columns, the sequence's among them, and rows."""
_Narrow = np.dtype[np.unsignedinteger[Any]]
_WIDTHS: Final[dict[int, _Narrow]] = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}
_WIDEST: Final = 8
MAX_ROWS: Final = 1_000_000
"""A block that says it has more is damaged."""

Pack = Callable[[Int64Array], bytes]
"""Return all columns of rows but the sequence's. Shapes: (n, columns), n > 0"""


def packer(compiler: Callable[[Any], Any]) -> Pack:
    """Return what packs rows as `pack_columns` does, with its kernel compiled."""
    write = compiler(write_columns)

    def pack(matrix: Int64Array) -> bytes:
        rows, columns = matrix.shape
        packed = np.empty((columns - 1) * (9 + 8 * rows), dtype=np.uint8)
        return _HEAD.pack(columns, rows) + packed[: write(matrix, packed)].tobytes()

    return pack


def pack_columns(matrix: Int64Array) -> bytes:
    """Return all columns but the sequence's, each as narrow as its values allow. Shapes: matrix (n, columns), n > 0."""
    columns = matrix.shape[1]
    lowest, highest = matrix.min(axis=0), matrix.max(axis=0)
    parts, widths = [], bytearray(columns - 1)
    for column in range(columns - 1):
        span = int(highest[column + 1]) - int(lowest[column + 1])
        if span:
            width = widths[column] = _width(span)
            if width == _WIDEST:
                lowest[column + 1] = 0
            parts.append((matrix[:, column + 1] - lowest[column + 1]).astype(_WIDTHS[width]).tobytes())
    return b"".join((_HEAD.pack(columns, len(matrix)), widths, lowest[1:].astype("<i8").tobytes(), *parts))


def unpack_columns(packed: bytes, first_sequence: int) -> Int64Array:
    """Return the rows of a packed block, numbered. Raises: DamagedJournal."""
    if len(packed) < _HEAD.size:
        raise DamagedJournal("a block of commands ends within its head")
    columns, count = _HEAD.unpack_from(packed)
    if not 2 <= columns <= COMMAND_WIDTH or not 0 < count <= MAX_ROWS:
        raise DamagedJournal(f"a block has {count} rows of {columns} words; this version knows {COMMAND_WIDTH} words")
    at = _HEAD.size + (columns - 1) * 9
    widths = packed[_HEAD.size : _HEAD.size + columns - 1]
    if len(packed) != at + count * sum(widths) or any(width and width not in _WIDTHS for width in widths):
        raise DamagedJournal(f"a block of {count} commands has {len(packed)} bytes")
    matrix = np.zeros((count, COMMAND_WIDTH), dtype=np.int64)
    matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + count)
    matrix[:, 1:columns] = np.frombuffer(packed, dtype="<i8", count=columns - 1, offset=at - 8 * (columns - 1))
    for column, width in enumerate(widths, 1):
        if width:
            distances = np.frombuffer(packed, dtype=_WIDTHS[width], count=count, offset=at)
            matrix[:, column] += distances.astype(np.uint64).view(np.int64)
            at += count * width
    return matrix


def _width(span: int) -> int:
    if span < 1 << 8:
        return 1
    if span < 1 << 16:
        return 2
    return 4 if span < 1 << 32 else _WIDEST
