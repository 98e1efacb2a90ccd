"""The state as a whole: it grows, is dumped and loaded, and has a hash."""

import numpy as np
import pytest

from fauxchange.domain.errors import InvalidRequest, InvariantViolation
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, dump_state, load_state, new_state, stamp, state_hash
from fauxchange.services.exchange.core.layout import BOOK_ASKS, H_ASSET_AT, H_EVENT_AT, HEADER_WIDTH, LINE, Rows
from fauxchange.services.exchange.core.memory import ROOMY, Rooms, essence, essence_size, new_memory, rooms_of
from fauxchange.services.exchange.core.state import State, balances, dump_and_hash, levels, open_orders
from fauxchange.services.exchange.core.vocabulary import EventKind, OrderType, Side, TimeInForce

TIGHT = Rooms(assets=1, accounts=4, instruments=1, orders=8, levels=8, nodes=64)


def setup() -> list[Rows]:
    assets = [ask.create_asset() for _ in range(5)]
    accounts = [ask.create_account() for _ in range(20)]
    pairs = [(base, quote) for base in range(5) for quote in range(5) if base != quote][:9]
    instruments = [ask.create_instrument(base, quote) for base, quote in pairs]
    deposits = [ask.deposit(3 + number, asset, 10**12) for number in range(20) for asset in range(5)]
    return [*assets, *accounts, ask.set_tier_fees(0, maker=100, taker=200), *instruments, *deposits]


def flow(seed: int, count: int) -> list[Rows]:
    """Random orders of many kinds around one price; times are given by `stamp`, so no GTD order expires."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        account, instrument, side = 3 + int(random.integers(20)), int(random.integers(9)), int(random.integers(2))
        price, lots = int(random.integers(900, 1_100)), int(random.integers(1, 50))
        kind = random.integers(10)
        if kind < 6:
            shown = int(random.integers(0, lots))
            gtd = {"time_in_force": TimeInForce.GTD, "expires_ns": 10**6 + price} if lots % 5 == 0 else {}
            rows.append(
                ask.place(account, instrument, side, price_ticks=price, order_lots=lots, display_lots=shown, **gtd)
            )
        elif kind < 8:
            stop = {"stop_ticks": price, "order_type": OrderType.STOP}
            rows.append(ask.place(account, instrument, side, price_ticks=price + 50, order_lots=lots, **stop))
        elif kind < 9:
            rows.append(ask.cancel_all(account, instrument))
        else:
            market = {"order_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
            rows.append(ask.place(account, instrument, side, order_lots=lots, **market))
    return rows


@pytest.mark.parametrize("rooms", [TIGHT, Rooms(assets=3, accounts=5, instruments=7, orders=11, levels=13, nodes=17)])
def test_every_table_begins_at_a_line_of_the_cache(rooms: Rooms) -> None:
    memory = new_memory(rooms)

    tables = memory[H_ASSET_AT : H_EVENT_AT + 1]

    assert memory.ctypes.data % (LINE * memory.itemsize) == 0
    assert tables[0] == HEADER_WIDTH
    assert not np.any(tables % LINE)
    assert np.all(np.diff(tables) >= LINE)


def test_a_state_that_had_to_grow_equals_one_that_had_room() -> None:
    commands = stamp([*setup(), *flow(1, 600)], first_sequence=1, ts_ns=0)
    tight, wide = Engine(state=new_state(rooms=TIGHT)), Engine()

    in_tight, in_wide = tight.apply(commands), wide.apply(commands)

    assert in_tight.tobytes() == in_wide.tobytes()
    assert tight.state_hash() == wide.state_hash()
    assert len(open_orders(wide.state)) > TIGHT.orders


def test_a_loaded_state_has_the_same_hash_and_goes_on_alike() -> None:
    before, after = flow(2, 500), [*flow(3, 300), ask.expire(), ask.cancel_all(5)]
    engine = Engine()
    engine.apply(stamp([*setup(), *before], first_sequence=1, ts_ns=0))
    following = stamp(after, first_sequence=len(setup()) + len(before) + 1, ts_ns=2_000_000)

    loaded = Engine(state=load_state(dump_state(engine.state)))

    assert loaded.state_hash() == engine.state_hash()
    assert loaded.apply(following).tobytes() == engine.apply(following).tobytes()
    assert loaded.state_hash() == engine.state_hash()


def test_what_a_dump_is_made_of_stays_while_the_state_goes_on() -> None:
    engine = Engine(state=new_state(rooms=TIGHT))
    engine.apply(stamp([*setup(), *flow(6, 500)], first_sequence=1, ts_ns=0))
    dumped, hashed = dump_state(engine.state), engine.state_hash()
    room = np.full(essence_size(engine.state.memory) + 100, 7, dtype=np.int64)

    kept = State(essence(engine.state.memory, room))
    engine.apply(stamp(flow(7, 100), first_sequence=len(setup()) + 501, ts_ns=0))

    assert len(kept.memory) == essence_size(kept.memory) < len(room)
    assert dump_and_hash(kept) == (dumped, hashed)
    assert engine.state_hash() != hashed


def test_a_state_has_the_rooms_asked_for_whether_it_was_loaded_or_not() -> None:
    engine = Engine(state=new_state(rooms=ROOMY))
    commands = stamp([*setup(), *flow(8, 400)], first_sequence=1, ts_ns=0)
    following = stamp(flow(9, 400), first_sequence=len(commands) + 1, ts_ns=0)

    engine.apply(commands)
    loaded = Engine(state=load_state(dump_state(engine.state), least=ROOMY))

    # What is full is as large as it must be, all else as it was.
    assert rooms_of(loaded.state.memory) == rooms_of(engine.state.memory)
    assert rooms_of(loaded.state.memory).orders == ROOMY.orders
    assert loaded.apply(following).tobytes() == engine.apply(following).tobytes()


def test_the_same_commands_one_by_one_give_the_same_events() -> None:
    commands = stamp([*setup(), *flow(4, 300)], first_sequence=1, ts_ns=0)
    at_once, one_by_one = Engine(), Engine()

    events = at_once.apply(commands)
    parts = [one_by_one.apply(commands[row : row + 1]) for row in range(len(commands))]

    assert events.tobytes() == b"".join(part.tobytes() for part in parts)
    assert events["event_sequence"].tolist() == list(range(1, len(events) + 1))


def test_what_is_held_is_what_open_orders_reserve() -> None:
    engine = Engine()

    engine.apply(stamp([*setup(), *flow(5, 500)], first_sequence=1, ts_ns=0))

    assert balances(engine.state)[:, :, 1].sum() == open_orders(engine.state)["reserved"].sum() > 0
    assert not balances(engine.state).sum(axis=(0, 2)).any()


def test_a_taker_with_more_fills_than_the_events_have_room_for_goes_on() -> None:
    engine = Engine(state=new_state(balance_events=False, book_events=False))
    small = ask.place(3, 0, Side.SELL, price_ticks=10, order_lots=8_000, display_lots=1)

    events = engine.apply(
        stamp([*setup(), small, ask.place(4, 0, Side.BUY, price_ticks=10, order_lots=7_000)], first_sequence=1, ts_ns=0)
    )

    assert np.count_nonzero(events["kind"] == EventKind.TRADE) == 7_000
    assert levels(engine.state, 0, BOOK_ASKS)[["shown_lots", "hidden_lots"]].tolist() == [(1, 999)]


def test_prices_far_apart_are_found_in_order() -> None:
    prices = [1, 7, 2**20, 2**20 + 1, 2**33, 2**47, 15, 16, 17, 2**12]
    engine = Engine()
    engine.apply(stamp([*setup(), ask.deposit(3, 0, 10**15)], first_sequence=1, ts_ns=0))

    places = [ask.place(3, 0, Side.SELL, price_ticks=price, order_lots=1) for price in prices]
    engine.apply(stamp(places, first_sequence=len(setup()) + 2, ts_ns=0))

    assert levels(engine.state, 0, BOOK_ASKS)["price_ticks"].tolist() == sorted(prices)


def test_a_note_is_counted_and_changes_nothing_else() -> None:
    noted, other = Engine(), Engine()
    noted.apply(stamp(setup(), first_sequence=1, ts_ns=5))
    other.apply(stamp(setup(), first_sequence=1, ts_ns=5))
    before = noted.state_hash()

    events = noted.apply(stamp([ask.note()], first_sequence=len(setup()) + 1, ts_ns=7))

    assert len(events) == 0
    assert noted.state_hash() != before, "the sequence number and the time are part of the state"
    other.apply(stamp([ask.expire()], first_sequence=len(setup()) + 1, ts_ns=7))
    assert noted.state_hash() == other.state_hash(), "nothing else is"


@pytest.mark.parametrize(("sequence", "ts_ns"), [(1, 5), (3, 5), (2, 4)])
def test_a_command_out_of_turn_is_a_bug(sequence: int, ts_ns: int) -> None:
    engine = Engine()
    engine.apply(stamp([ask.create_asset()], first_sequence=1, ts_ns=5))

    with pytest.raises(InvariantViolation, match="gapless"):
        engine.apply(stamp([ask.create_asset()], first_sequence=sequence, ts_ns=ts_ns))


@pytest.mark.parametrize("damage", [b"", b"FXKS", b"FXKS123", b"other"])
def test_damaged_bytes_are_no_state(damage: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no snapshot"):
        load_state(damage)


def test_a_dump_with_words_missing_is_no_state() -> None:
    import zlib

    dumped = dump_state(new_state())
    shortened = dumped[:4] + zlib.compress(zlib.decompress(dumped[4:])[:-8])

    with pytest.raises(InvalidRequest, match="too early"):
        load_state(shortened)
    assert state_hash(load_state(dumped)) == state_hash(new_state())
