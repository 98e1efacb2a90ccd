"""What is journalled of commands: both formats, and what happens to a block's times."""

import base64
import zlib

import numpy as np
import pytest

from fauxchange.domain.errors import DamagedJournal
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.layout import C_KIND, C_ORDER_LOTS, C_TS_NS, COMMAND_WIDTH, Int64Array
from fauxchange.services.exchange.core.vocabulary import COMMAND_DEPOSIT, COMMAND_PLACE
from fauxchange.services.exchange.service.entries import (
    BLOCK_FORMAT,
    FORMAT,
    Block,
    Entry,
    Note,
    pack_batch,
    row_of,
    seal,
    unpack_batch,
    unpack_rows,
)
from fauxchange.services.exchange.service.requests import Origin

NOW_NS = 1_769_860_800_000_000_000
STORED = (
    b"c-muR5M*FtU|?`#fB;P>&Cu}Jmi2tU1Sgcs45b+vXapLLEvf5ehI6&h+`*0J4qSkc`x<(qQTSg7Xt)c+Ow*<;O-#wn%v)(_WUglbgoZ1NQVUB{"
    b"i%WD3mzNYJCa3Be9$1_WB-js3o3cDRwbCjvDS5$y1&fn`Vh0!w003}@C_e"
)
"""A batch that version 0.1.0 journalled before there were blocks: a deposit and an order."""


def rows_at(*times: int) -> Int64Array:
    matrix = np.zeros((len(times), COMMAND_WIDTH), dtype=np.int64)
    matrix[:, C_KIND], matrix[:, C_TS_NS], matrix[:, C_ORDER_LOTS] = COMMAND_PLACE, times, range(1, len(times) + 1)
    return matrix


def single(name: str = "somebody") -> Entry:
    return Entry(row_of(ask.create_account()), Note(Origin("test"), content={"name": name}))


def test_a_batch_that_an_earlier_version_has_journalled_is_read() -> None:
    payload = zlib.decompress(base64.b85decode(STORED))

    batch = unpack_batch(payload)

    deposit, order = batch.entries
    assert isinstance(deposit, Entry)
    assert isinstance(order, Entry)
    assert (batch.first_sequence, batch.last_sequence, batch.ts_ns) == (41, 42, NOW_NS)
    assert (deposit.kind, deposit.note.idempotency_key, deposit.note.fingerprint) == (COMMAND_DEPOSIT, "k-1", 7)
    assert (order.kind, order.note.client_order_id, order.row[C_ORDER_LOTS]) == (COMMAND_PLACE, "c-1", 500)
    assert pack_batch(batch) == payload


def test_a_batch_without_blocks_is_written_as_it_always_was() -> None:
    assert pack_batch(seal([single()], 1, NOW_NS))[0] == FORMAT
    assert pack_batch(seal([single(), Block(rows_at(5), Note(Origin("flow")))], 1, NOW_NS))[0] == BLOCK_FORMAT


def test_blocks_and_single_commands_come_back_in_their_order() -> None:
    entries: list[Entry | Block] = [
        single("a"),
        single("b"),
        Block(rows_at(NOW_NS - 2, NOW_NS - 1), Note(Origin("flow"))),
        single("c"),
    ]
    payload = pack_batch(seal(entries, 7, NOW_NS))

    back = unpack_batch(payload)

    first, second, block, last = back.entries
    assert isinstance(block, Block)
    assert (block.sequence, block.last_sequence, block.note.origin.actor) == (9, 10, "flow")
    assert [entry.sequence for entry in (first, second, last)] == [7, 8, 11]
    assert back.last_sequence == 11
    assert unpack_rows(payload).tolist() == back.matrix.tolist()
    assert pack_batch(back) == payload


def test_commands_of_a_block_keep_times_between_the_last_command_and_now() -> None:
    block = Block(rows_at(3, 12, 11, 15, 40), Note(Origin("flow")))

    batch = seal([block], 1, 30, 10)

    assert batch.matrix[:, C_TS_NS].tolist() == [10, 12, 12, 15, 30]
    assert batch.ts_ns == block.ts_ns == 30


def test_a_block_behind_a_command_of_now_is_of_now() -> None:
    batch = seal([single(), Block(rows_at(12, 15), Note(Origin("flow"))), single()], 1, 30, 10)

    assert batch.matrix[:, C_TS_NS].tolist() == [30, 30, 30, 30]


@pytest.mark.parametrize("cut", [3, 16, 20, -1])
def test_half_a_batch_with_blocks_is_damaged(cut: int) -> None:
    payload = pack_batch(seal([Block(rows_at(1, 2), Note(Origin("flow")))], 1, NOW_NS))

    with pytest.raises(DamagedJournal):
        unpack_batch(payload[:cut])


def test_a_batch_whose_parts_are_no_parts_is_damaged() -> None:
    payload = bytearray(pack_batch(seal([Block(rows_at(1, 2), Note(Origin("flow")))], 1, NOW_NS)))
    payload[16] = 0xC1

    with pytest.raises(DamagedJournal, match="parts"):
        unpack_rows(bytes(payload))


def test_parts_that_do_not_follow_on_each_other_are_damaged() -> None:
    blocks = [Block(rows_at(1, 2), Note(Origin("flow"))) for _ in range(2)]
    batch = seal(blocks, 7, NOW_NS)
    blocks[1].sequence = 8

    for read in (unpack_batch, unpack_rows):
        with pytest.raises(DamagedJournal, match="begins with command 7"):
            read(pack_batch(batch))


@pytest.mark.parametrize("blocks", [False, True])
def test_a_note_that_is_no_text_any_more_is_damaged(blocks: bool) -> None:
    block = [Block(rows_at(1, 2), Note(Origin("flow")))] if blocks else []
    payload = pack_batch(seal([single("somebody"), *block], 1, NOW_NS)).replace(b"somebody", b"some\xffody")

    with pytest.raises(DamagedJournal, match="notes"):
        unpack_batch(payload)


def test_a_batch_of_a_later_version_is_refused() -> None:
    payload = bytearray(pack_batch(seal([single()], 1, NOW_NS)))
    payload[0] = 3

    with pytest.raises(DamagedJournal, match="format 3"):
        unpack_batch(bytes(payload))
