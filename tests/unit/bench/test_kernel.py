"""The benchmarks of the kernel, as small as they go: what they measure is there; how quick it is proves nothing."""

import struct
from pathlib import Path

import numpy as np
import pytest

from fauxchange.bench import flow_headless, kernel, matching, orders_memory
from fauxchange.domain.errors import InvalidRequest
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.core.state import open_orders
from fauxchange.services.exchange.core.vocabulary import CommandKind


def ignore(line: str) -> None:
    assert line


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A sale of 5 at 10, a purchase of 3 that meets it, a cancel of the rest, and a cancel that comes too late."""
    rows = np.zeros(4, dtype=matching.MESSAGE)
    rows["sequence"] = [1, 2, 3, 4]
    rows["type"] = [matching.NEW, matching.NEW, matching.CANCEL, matching.CANCEL]
    rows["side"] = [1, 0, 1, 1]
    rows["order_id"] = [7, 9, 7, 7]
    rows["price"] = [10, 11, 0, 0]
    rows["quantity"] = [5, 3, 0, 0]
    path = tmp_path / "four.bin"
    path.write_bytes(struct.pack("<QII", 0, 1, len(rows)) + rows.tobytes())
    return path


def test_a_stream_gives_its_canonical_reports(stream: Path) -> None:
    decoded = matching.decode(stream)

    events, elapsed_s = matching.measure(decoded, 1)

    assert matching.report_lines(decoded, events) == [
        "0,1,1,7,10,5",
        "0,2,0,9,11,3",
        "1,2,10,3,7,9",
        "2,3,1,7,10",
        "4,4,7",
    ]
    assert len(elapsed_s) == 1


def test_matching_names_each_of_several_streams_and_counts_the_slowest(stream: Path) -> None:
    result = matching.run(ignore, file=[str(stream), str(stream)], repetitions=1)

    streams = result["streams"]
    assert isinstance(streams, list)
    assert [(each["file"], each["messages"], each["reports"]) for each in streams] == [("four.bin", 4, 5)] * 2
    assert result["figures"]["matching"]["value"] == min(each["messages_per_second"] for each in streams)  # type: ignore[index]


def test_a_file_that_is_cut_is_no_stream(stream: Path) -> None:
    stream.write_bytes(stream.read_bytes()[: -matching.MESSAGE.itemsize])

    with pytest.raises(InvalidRequest, match="its header says 4"):
        matching.decode(stream)


def test_the_mix_has_every_kind_of_order_and_says_what_became_of_it() -> None:
    result = kernel.run(ignore, accounts=30, commands=5_000, repetitions=1)

    shares = result["share_of_commands"]
    events = result["events_per_100_commands"]
    assert isinstance(shares, dict)
    assert isinstance(events, dict)
    assert set(shares) == {kind.name.lower() for kind in CommandKind if kind >= CommandKind.PLACE} - {"note"}
    assert all(shares.values())
    assert events["order_accepted"] > 50
    assert events["trade"] > 10
    assert {"order_rejected", "command_rejected", "order_triggered", "balance", "book"} <= set(events)


def test_orders_that_are_kept_all_rest() -> None:
    engine = Engine()

    orders_memory.fill(engine, accounts=3, count=200)

    assert len(open_orders(engine.state)) == 200


def test_the_flow_is_measured_beside_the_kernel_alone() -> None:
    result = flow_headless.run(ignore, seconds=1, orders_per_s=50, instruments=2)

    assert result["instruments"] == 2
    assert 20 < float(str(result["orders_per_instrument_and_virtual_second"])) < 200
    figures = result["figures"]
    assert isinstance(figures, dict)
    assert set(flow_headless.TARGETS) <= set(figures)
    assert figures["orders"]["baseline"] > figures["orders"]["value"] > 0
