"""The audit trail covers every command with what it led to, and shows when it was tampered with."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from exchange_kit import ORIGIN, Exchange

from fauxchange.contracts.exchange.messages import KeyRequest
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import DamagedJournal
from fauxchange.domain.orders import TrailBlock
from fauxchange.domain.trail import GENESIS
from fauxchange.services.exchange.service.exchange import TrailQuery
from fauxchange.services.exchange.service.trail import TrailWriter, check_chain, read_block


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    adapter = MemoryDataAdapter()
    await adapter.connect()
    yield await Exchange(adapter).start()
    await adapter.disconnect()


async def test_every_command_is_in_the_trail_with_who_asked_and_what_it_led_to(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    await exchange.place(seller, "sell", "0.5", "60000", client_order_id="s-1")
    await exchange.place(buyer, "buy", "0.2")

    events = [record.cloud_event() async for record in exchange.service.trail(TrailQuery())]

    assert [event["sequence"] for event in events] == list(range(1, exchange.venue.sequence + 1))
    assert events[0]["prev_hash"] == GENESIS.hex()
    sold, bought = events[-2:]
    assert (sold["actor"], sold["traceid"], sold["causationid"]) == ("test", "trace-1", "request-1")
    assert sold["data"]["source_address"] == "127.0.0.1"
    assert sold["data"]["command"]["client_order_id"] == "s-1"
    assert bought["type"] == "fauxchange.exchange.place"
    kinds = [event["kind"] for event in bought["data"]["events"]]
    assert kinds[0] == "order_accepted"
    assert "trade" in kinds
    assert kinds.count("balance") >= 6


async def test_the_trail_is_asked_by_account_type_and_sequence(exchange: Exchange) -> None:
    seller, buyer = await exchange.account(BTC="1"), await exchange.account(USD="100000")
    await exchange.place(seller, "sell", "0.5", "60000")
    taken = await exchange.place(buyer, "buy", "0.2")

    of_seller = [record async for record in exchange.service.trail(TrailQuery(account=seller))]
    placed = [record async for record in exchange.service.trail(TrailQuery(type="fauxchange.exchange.place"))]
    last = [record async for record in exchange.service.trail(TrailQuery(from_sequence=exchange.venue.sequence))]

    # Created, credited, placed, and traded with.
    assert len(of_seller) == 4
    assert len(placed) == 2
    assert [record.row[3] for record in last] == [taken.order.account]


async def test_secrets_stay_out_of_the_trail(exchange: Exchange) -> None:
    account = await exchange.account()
    await exchange.service.create_key(str(account), KeyRequest(), ORIGIN)

    events = [record.cloud_event() async for record in exchange.service.trail(TrailQuery())]

    assert events[-1]["type"] == "fauxchange.exchange.key_created"
    assert b"encrypted" not in msgspec.json.encode(events)


def _blocks() -> list[TrailBlock]:
    writer, last_hash = TrailWriter(), GENESIS
    blocks = []
    for first in (1, 4, 7):
        for sequence in range(first, first + 3):
            row = sequence.to_bytes(8, "little") + bytes(16 * 8)
            writer.add(row, msgspec.msgpack.encode([["me"]]), b"", 0, sequence)
        block = writer.take()
        assert block is not None
        blocks.append(block.pack(last_hash))
        last_hash = bytes.fromhex(blocks[-1].hash)
    return blocks


def test_records_added_together_are_the_records_added_one_by_one() -> None:
    rows = [sequence.to_bytes(8, "little") + bytes(16 * 8) for sequence in (1, 2, 3)]
    notes = [msgspec.msgpack.encode([[name]]) for name in ("me", "you", "somebody")]
    events = [bytes([byte]) * 160 * count for byte, count in ((1, 2), (2, 0), (3, 1))]
    together, one_by_one = TrailWriter(), TrailWriter()

    together.add_batch(b"".join(rows), notes, b"".join(events), (0, 2, 2, 3), 7)
    for row, note, these, count in zip(rows, notes, events, (2, 0, 1), strict=True):
        one_by_one.add(row, note, these, count, 7)

    blocks = [writer.take() for writer in (together, one_by_one)]
    packed = [block and block.pack(GENESIS) for block in blocks]
    assert packed[0] is not None
    assert packed[0] == packed[1]


def test_blocks_chain_to_each_other() -> None:
    blocks = _blocks()

    assert check_chain(blocks, 0, GENESIS.hex()) == (9, blocks[-1].hash)


def test_a_block_left_out_swapped_or_changed_is_named() -> None:
    blocks = _blocks()
    other = msgspec.structs.replace(blocks[1], hash="0" * 64)

    with pytest.raises(DamagedJournal, match="record 7 after 3"):
        check_chain([blocks[0], blocks[2]], 0, GENESIS.hex())
    with pytest.raises(DamagedJournal, match="record 4 after 0"):
        check_chain([blocks[1], blocks[0]], 0, GENESIS.hex())
    with pytest.raises(DamagedJournal, match="records 4 to 6"):
        check_chain([blocks[0], other], 0, GENESIS.hex())


def test_a_changed_byte_is_found_wherever_it_is() -> None:
    block = _blocks()[0]

    for at in range(len(block.payload)):
        payload = bytearray(block.payload)
        payload[at] ^= 0x10
        changed = msgspec.structs.replace(block, payload=bytes(payload))
        try:
            records = list(read_block(changed))
        except DamagedJournal:
            continue
        # A bit that the compression has no use for changes nothing that is told.
        assert records == list(read_block(block))
