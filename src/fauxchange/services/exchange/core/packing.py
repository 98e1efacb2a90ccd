"""Write rows of commands by column, in as few bytes as each column needs."""

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.kernels import kernel
from fauxchange.services.exchange.core.layout import Int64Array

Bytes = NDArray[np.uint8]


@kernel
def width_of(lowest: int, highest: int) -> int:
    """Return how many bytes a distance between the two takes: 0, 1, 2, 4 or 8."""
    if lowest == highest:
        return 0
    # Where their difference would leave 64 bits.
    if lowest < 0 and highest > lowest + 9223372036854775807:
        return 8
    span = highest - lowest
    if span < 256:
        return 1
    if span < 65536:
        return 2
    if span < 4294967296:
        return 4
    return 8


@kernel
def write_number(packed: Bytes, at: int, number: int, width: int) -> None:
    """Write the lowest bytes of a number, the lowest first."""
    for byte in range(width):
        packed[at + byte] = (number >> (8 * byte)) & 255


@kernel
def write_columns(matrix: Int64Array, packed: Bytes) -> int:
    """Write widths and bases of all columns but the first, then the columns; return how many bytes these are.

    A column of 8 bytes a row has base 0, so that no distance leaves 64 bits.

    Shapes: matrix (n, columns), n > 0; packed has room for 9 bytes a column and 8 bytes a cell
    """
    columns = matrix.shape[1] - 1
    at: int = 9 * columns
    for column in range(columns):
        lowest = highest = matrix[0, column + 1]
        for row in range(1, len(matrix)):
            cell = matrix[row, column + 1]
            lowest = min(lowest, cell)
            highest = max(highest, cell)
        width = width_of(lowest, highest)
        base = 0 if width == 8 else lowest
        packed[column] = width
        write_number(packed, columns + 8 * column, base, 8)
        if width != 0:
            for row in range(len(matrix)):
                write_number(packed, at, matrix[row, column + 1] - base, width)
                at += width
    return at
