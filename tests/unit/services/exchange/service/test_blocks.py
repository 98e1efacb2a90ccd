"""Rows packed by column come back as they were, and what is damaged is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.domain.errors import DamagedJournal
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.layout import C_SEQUENCE, C_TS_NS, COMMAND_WIDTH, Int64Array
from fauxchange.services.exchange.service.blocks import pack_columns, packer, unpack_columns

LEAST, MOST = -(2**63), 2**63 - 1
NUMBERS = st.one_of(st.sampled_from([0, 1, 255, 256, 2**16, 2**32, LEAST, MOST, -1]), st.integers(LEAST, MOST))


def numbered(rows: list[list[int]], first_sequence: int) -> Int64Array:
    matrix = np.array(rows, dtype=np.int64)
    matrix[:, C_SEQUENCE] = np.arange(first_sequence, first_sequence + len(rows))
    return matrix


@given(
    st.lists(st.lists(NUMBERS, min_size=COMMAND_WIDTH, max_size=COMMAND_WIDTH), min_size=1, max_size=8),
    st.integers(1, 2**40),
)
def test_any_rows_come_back_as_they_were(rows: list[list[int]], first_sequence: int) -> None:
    matrix = numbered(rows, first_sequence)

    back = unpack_columns(pack_columns(matrix), first_sequence)

    assert back.tolist() == matrix.tolist()


@given(st.lists(st.lists(NUMBERS, min_size=COMMAND_WIDTH, max_size=COMMAND_WIDTH), min_size=1, max_size=8))
def test_the_kernel_packs_to_the_same_bytes(rows: list[list[int]]) -> None:
    matrix = numbered(rows, 1)

    assert packer(interpreted)(matrix) == pack_columns(matrix)


def test_a_column_takes_as_many_bytes_as_its_largest_distance_needs() -> None:
    matrix = numbered([[0] * COMMAND_WIDTH for _ in range(100)], 1)
    alike = len(pack_columns(matrix))
    matrix[:, C_TS_NS] = 10**18 + np.arange(100)
    narrow = len(pack_columns(matrix))
    matrix[-1, C_TS_NS] += 2**16

    assert narrow - alike == 100
    assert len(pack_columns(matrix)) - alike == 400


def test_rows_of_an_earlier_version_had_fewer_columns() -> None:
    matrix = numbered([[7] * COMMAND_WIDTH] * 3, 1)

    back = unpack_columns(pack_columns(np.ascontiguousarray(matrix[:, :-2])), 1)

    assert back[:, :-2].tolist() == matrix[:, :-2].tolist()
    assert not back[:, -2:].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: packed[:3],
        lambda packed: packed[:-1],
        lambda packed: packed + b"\0",
        lambda packed: b"\xff\xff" + packed[2:],
        lambda packed: packed[:2] + b"\0\0\0\0" + packed[6:],
        lambda packed: packed[:2] + b"\xff\xff\xff\xff" + packed[6:],
        lambda packed: packed[:6] + b"\3" + packed[7:],
    ],
    ids=["head", "short", "long", "columns", "no rows", "many rows", "width"],
)
def test_what_is_damaged_is_no_block(change: object) -> None:
    matrix = numbered([[row] * COMMAND_WIDTH for row in range(3)], 1)
    assert callable(change)

    with pytest.raises(DamagedJournal):
        unpack_columns(change(pack_columns(matrix)), 1)
