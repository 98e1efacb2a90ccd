"""The flow and the kernel alone: what a run counts, journals and shows."""

import struct
from pathlib import Path

import numpy as np
import pytest
from flow_kit import PRICE, SECOND, START_NS, Market

from fauxchange.domain.errors import InvalidRequest
from fauxchange.services.exchange.core.layout import C_KIND, C_SEQUENCE, E_KIND, H_SEQUENCE
from fauxchange.services.exchange.core.vocabulary import COMMAND_PLACE, EVENT_TRADE
from fauxchange.services.exchange.service.blocks import unpack_columns
from fauxchange.services.exchange.service.headless import Anchors, run_headless, wandering_anchors

HEAD = struct.Struct("<QII")


def test_the_journal_holds_what_was_carried_out(tmp_path: Path) -> None:
    market, seen = Market(), []
    anchors = wandering_anchors([PRICE], seed=1, from_ns=START_NS, seconds=2)
    path = tmp_path / "journal"

    done = run_headless(
        market.flow,
        market.engine,
        anchors,
        from_ns=START_NS,
        to_ns=START_NS + 2 * SECOND,
        journal=path,
        observer=lambda commands, events: seen.append((commands.copy(), events.copy())),
    )

    stored, rows, at = path.read_bytes(), [], 0
    while at < len(stored):
        first, count, size = HEAD.unpack_from(stored, at)
        rows.append(unpack_columns(stored[at + HEAD.size : at + HEAD.size + size], first))
        assert len(rows[-1]) == count
        at += HEAD.size + size
    said = np.concatenate([commands for commands, _ in seen])
    events = np.concatenate([events for _, events in seen])
    assert (np.concatenate(rows) == said).all()
    assert (np.diff(said[:, C_SEQUENCE]) == 1).all()
    assert done.commands == len(said)
    assert done.orders == (said[:, C_KIND] == COMMAND_PLACE).sum()
    assert done.trades == (events[:, E_KIND] == EVENT_TRADE).sum()
    assert done.journal_bytes == len(stored)
    assert done.state_hash == market.engine.state_hash()
    assert market.engine.state.memory[H_SEQUENCE] == said[-1, C_SEQUENCE]


def test_a_run_in_two_parts_is_the_same_run() -> None:
    whole, parts = Market(), Market()
    anchors = wandering_anchors([PRICE], seed=1, from_ns=START_NS, seconds=3)

    run_headless(whole.flow, whole.engine, anchors, from_ns=START_NS, to_ns=START_NS + 3 * SECOND)
    for begins, ends in ((0, 1), (1, 3)):
        run_headless(
            parts.flow, parts.engine, anchors, from_ns=START_NS + begins * SECOND, to_ns=START_NS + ends * SECOND
        )

    assert parts.engine.state_hash() == whole.engine.state_hash()


def test_progress_is_told_and_time_is_measured_by_the_clock_that_is_given() -> None:
    told, ticks = list[float](), iter((10.0, 12.5))
    market = Market()
    anchors = wandering_anchors([PRICE], seed=1, from_ns=START_NS, seconds=1)

    done = run_headless(
        market.flow,
        market.engine,
        anchors,
        from_ns=START_NS,
        to_ns=START_NS + SECOND,
        progress=told.append,
        now=lambda: next(ticks),
    )

    assert done.seconds == 2.5
    assert told == sorted(told)
    assert len(told) == SECOND // market.flow.slice_ns


def test_a_run_without_a_price_to_begin_with_is_refused() -> None:
    market = Market()
    none = np.zeros((0, 1), dtype=np.int64)
    late = wandering_anchors([PRICE], seed=1, from_ns=START_NS + SECOND, seconds=1)

    for anchors in (Anchors(ts_ns=none[:, 0], bid_ticks=none, ask_ticks=none), late):
        with pytest.raises(InvalidRequest, match="no price to begin with"):
            run_headless(market.flow, market.engine, anchors, from_ns=START_NS, to_ns=START_NS + SECOND)


def test_wandering_prices_are_repeatable_and_as_volatile_as_asked() -> None:
    first = wandering_anchors([PRICE, 300_000], seed=1, from_ns=START_NS, seconds=20_000, day_volatility=0.05)
    second = wandering_anchors([PRICE, 300_000], seed=1, from_ns=START_NS, seconds=20_000, day_volatility=0.05)

    assert (first.bid_ticks == second.bid_ticks).all()
    assert (first.bid_ticks < first.ask_ticks).all()
    middle = (first.bid_ticks + first.ask_ticks) / 2
    moves = np.diff(np.log(middle), axis=0)
    assert moves.std(axis=0) * 86_400**0.5 == pytest.approx([0.05, 0.05], rel=0.05)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.05
    assert first.bid_ticks[0].tolist() == [round(PRICE * (1 - 0.5e-4)), 299_985]
