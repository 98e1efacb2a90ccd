"""How many messages a second the kernel matches: a recorded stream with a known right answer, on one instrument.

A stream's orders have no owners and no money, so its instrument is one without a ledger; its modify is the kernel's
replace in place. Decoding and the text of the reports, from which the hash is made, are outside the timed part; the
reports themselves, the kernel's events, are written inside it. The baseline matches a part of the same stream with
dictionaries and deques in plain Python.
"""

import hashlib
import heapq
import lzma
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fauxchange.bench.figures import Report, figure
from fauxchange.domain.errors import InvalidRequest, check
from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, join, new_state, stamp
from fauxchange.services.exchange.core.layout import COMMAND, Rows
from fauxchange.services.exchange.core.memory import rooms_of
from fauxchange.services.exchange.core.vocabulary import (
    HOUSE_ACCOUNT,
    CommandKind,
    EventKind,
    OrderType,
    RejectReason,
    TimeInForce,
)

TARGETS = {"matching": "at least 8000000 messages/s"}

MESSAGE: Final = np.dtype(
    [
        ("type", "u1"),
        ("side", "u1"),
        ("ioc", "u1"),
        ("pad", "u1"),
        ("quantity", "<u4"),
        ("sequence", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("reserved", "<i8"),
    ]
)
NEW, CANCEL, MODIFY = 0, 1, 2
_HEADER: Final = struct.Struct("<QII")
_SLICE: Final = 20_000

Messages = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Stream:
    """A recorded stream, as it is and as the kernel's commands.

    `order_ids` are the stream's, by the kernel's (which count from 1); the kernel gives out ids in the order in which
    orders are placed, so they are known before it runs. Setting up takes commands of its own, the first `setup` ones.
    """

    messages: Messages
    commands: Rows
    order_ids: NDArray[np.int64]
    setup: int


def run(report: Report, *, file: str | Sequence[str], repetitions: int = 25) -> dict[str, object]:
    """Match one stream or several, each several times from an empty book; the figure is the slowest stream's.

    A stream's rate is that of its quickest repetition: what else the machine does can only make one slower.
    """
    paths = [Path(file)] if isinstance(file, str) else [Path(each) for each in file]
    results, baselines = [], []
    for path in paths:
        stream = decode(path)
        report(f"{path.name}: {len(stream.messages)} messages, {repetitions} times")
        events, elapsed_s = measure(stream, repetitions)
        lines = report_lines(stream, events)
        results.append(
            {
                "file": path.name,
                "messages": len(stream.messages),
                "reports": len(lines),
                "messages_per_second": round(len(stream.messages) / min(elapsed_s)),
                "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            }
        )
        part = stream.messages[:_SLICE]
        begun = time.perf_counter()
        match_in_python(part)
        baselines.append(len(part) / (time.perf_counter() - begun))
    rates = [float(str(result["messages_per_second"])) for result in results]
    slowest = rates.index(min(rates))
    return {
        "benchmark": "matching",
        "figures": {"matching": figure(rates[slowest], "messages/s", baselines[slowest], decimals=0)},
        "streams": results,
        **results[-1],
    }


def read_messages(path: Path) -> Messages:
    """Read a stream, compressed or not.

    Raises: InvalidRequest if the file is no stream
    """
    try:
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        _, _, count = _HEADER.unpack_from(data)
        messages = np.frombuffer(data, dtype=MESSAGE, offset=_HEADER.size)
    except (OSError, lzma.LZMAError, struct.error, ValueError) as exc:
        raise InvalidRequest(f"{path} is no stream of messages: {exc}", code="bad_stream") from exc
    if len(messages) != count:
        raise InvalidRequest(f"{path} has {len(messages)} messages where its header says {count}", code="bad_stream")
    return messages


def decode(path: Path) -> Stream:
    """Read a stream and translate it into commands."""
    messages = read_messages(path)
    setup = [ask.create_asset(0), ask.create_asset(0), ask.create_instrument(0, 1, unfunded=True)]
    is_new = messages["type"] == NEW
    stream_ids = messages["order_id"].astype(np.int64)
    placed = stream_ids[is_new]
    check(len(np.unique(placed)) == len(placed), "every new order has an id of its own")
    # An id that is not placed at all becomes one that the kernel never gives out.
    sorted_at = np.argsort(placed, kind="stable")
    found = np.searchsorted(placed[sorted_at], stream_ids)
    found = np.minimum(found, len(placed) - 1)
    known = placed[sorted_at][found] == stream_ids
    commands = np.zeros(len(messages), dtype=COMMAND)
    commands["kind"] = np.array([CommandKind.PLACE, CommandKind.CANCEL, CommandKind.REPLACE_IN_PLACE])[messages["type"]]
    commands["account"] = HOUSE_ACCOUNT
    commands["order_id"] = np.where(is_new, 0, np.where(known, sorted_at[found] + 1, len(placed) + 1))
    commands["side"] = np.where(is_new, messages["side"], 0)
    commands["order_type"] = np.where(is_new, OrderType.LIMIT, 0)
    commands["time_in_force"] = np.where(is_new & (messages["ioc"] != 0), TimeInForce.IOC, TimeInForce.GTC)
    trades = messages["type"] != CANCEL
    commands["price_ticks"] = np.where(trades, messages["price"], 0)
    commands["order_lots"] = np.where(trades, messages["quantity"], 0)
    ready = stamp(setup, first_sequence=1, ts_ns=0)
    commands["sequence"] = np.arange(len(ready) + 1, len(ready) + 1 + len(commands))
    return Stream(messages, join([ready, commands]), np.concatenate([[0], placed]), len(ready))


def measure(stream: Stream, repetitions: int) -> tuple[Rows, list[float]]:
    """Match the stream from an empty book, `repetitions` times; return the events of the last time and all times taken.

    Units: seconds. The first turn, in which the kernel is compiled and its tables grow, counts for nothing.
    """
    elapsed_s: list[float] = []
    engine = Engine(state=new_state(balance_events=False, book_events=False), compiler=compile_kernel)
    setup, messages = stream.commands[: stream.setup], stream.commands[stream.setup :]
    engine.run(setup)
    count = engine.run(messages)
    # The first turn has made room enough.
    rooms = rooms_of(engine.state.memory)
    engine.state = new_state(balance_events=False, book_events=False, rooms=rooms)
    engine.run(setup)
    empty = engine.state.memory.copy()
    for _ in range(repetitions):
        engine.state.memory[:] = empty
        begun = time.perf_counter()
        count = engine.run(messages)
        elapsed_s.append(time.perf_counter() - begun)
    if not repetitions:
        count = engine.run(messages)
    return engine.written(count).copy(), elapsed_s


def report_lines(stream: Stream, events: Rows) -> list[str]:
    """Return the canonical text of the reports, a line for each."""
    lines: list[tuple[int, int, str]] = []
    messages = stream.messages
    order_ids = stream.order_ids.tolist()
    rows = messages[events["sequence"] - stream.setup - 1]
    fields = ("sequence", "side", "order_id", "price", "quantity", "type")
    asked = zip(*(rows[name].tolist() for name in fields), strict=True)
    names = ("kind", "reason", "price_ticks", "last_lots", "maker_order_id", "order_id", "side", "leaves_lots")
    told = zip(*(events[name].tolist() for name in names), strict=True)
    for message, event in zip(asked, told, strict=True):
        sequence, side, order_id, price, quantity, asked_for = message
        kind, reason, price_ticks, lots, maker, subject, its_side, _ = event
        if kind == EventKind.ORDER_ACCEPTED:
            lines.append((sequence, 0, f"0,{sequence},{side},{order_id},{price},{quantity}"))
        elif kind == EventKind.TRADE:
            text = f"1,{sequence},{price_ticks},{lots},{order_ids[maker]},{order_ids[subject]}"
            lines.append((sequence, 1, text))
        elif kind == EventKind.ORDER_CANCELED:
            lines.append((sequence, 2, f"2,{sequence},{its_side},{order_ids[subject]},{price_ticks}"))
        elif kind == EventKind.ORDER_REPLACED:
            lines.append((sequence, 3, f"3,{sequence},{its_side},{order_id},{price},{quantity}"))
        else:
            check(kind == EventKind.COMMAND_REJECTED, f"no report is made from {EventKind(kind).name}")
            check(reason in {RejectReason.UNKNOWN_ORDER, RejectReason.ORDER_FINISHED}, RejectReason(reason).name)
            number = 4 if asked_for == CANCEL else 5
            lines.append((sequence, number, f"{number},{sequence},{order_id}"))
    lines.sort(key=lambda line: line[:2])
    return [text for _, _, text in lines]


def match_in_python(messages: Messages) -> int:
    """Match messages with dictionaries, heaps and deques; return how many trades there were."""
    queues: tuple[dict[int, deque[int]], dict[int, deque[int]]] = ({}, {})
    heaps: tuple[list[int], list[int]] = ([], [])
    orders: dict[int, list[int]] = {}
    trades = 0

    def best(side: int) -> int | None:
        while heaps[side]:
            price = abs(heaps[side][0])
            queue = queues[side][price]
            while queue and (queue[0] not in orders or orders[queue[0]][1] != price):
                queue.popleft()
            if queue:
                return price
            heapq.heappop(heaps[side])
            del queues[side][price]
        return None

    def enter(order_id: int, side: int, price: int, lots: int, *, rests: bool) -> int:
        made = 0
        while lots and (other := best(1 - side)) is not None and (other <= price if side == 0 else other >= price):
            maker = queues[1 - side][other][0]
            taken = min(lots, orders[maker][2])
            lots -= taken
            made += 1
            orders[maker][2] -= taken
            if not orders[maker][2]:
                del orders[maker]
        if lots and rests:
            orders[order_id] = [side, price, lots]
            if price not in queues[side]:
                queues[side][price] = deque()
                heapq.heappush(heaps[side], price if side else -price)
            queues[side][price].append(order_id)
        return made

    columns = (messages[name].tolist() for name in ("type", "side", "ioc", "quantity", "order_id", "price"))
    for kind, side, ioc, quantity, order_id, price in zip(*columns, strict=True):
        if kind == NEW:
            trades += enter(order_id, side, price, quantity, rests=not ioc)
        elif order_id in orders:
            held = orders.pop(order_id)
            if kind == MODIFY:
                trades += enter(order_id, held[0], price, quantity, rests=True)
    return trades
