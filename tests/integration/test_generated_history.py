"""`generate` as a process: spread over processes, interrupted, killed, and on a disk that is full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fauxchange.data.ports import CandleQuery
from fauxchange.domain.times import NS_PER_MINUTE, NS_PER_S
from fauxchange.platform.settings import load_settings
from fauxchange.realism.generating import History, generate
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.simulating import START_NS
from fauxchange.services.market_data.core.parameters import default_table
from fauxchange.testing.inprocess import running

COMMAND = (sys.executable, "-m", "fauxchange.cli", "generate", "--symbols", "BTC-USD,ETH-USD")
PATIENCE_S = 60.0
PLAIN_PYTHON = {**os.environ, "NUMBA_DISABLE_JIT": "1"}


def history_of(length_ns: int) -> History:
    settings = load_settings(environ={})
    instruments = tuple(settings.instrument(symbol) for symbol in ("BTC/USD", "ETH/USD"))
    return History(
        instruments=instruments,
        table=default_table(),
        seed=1,
        start_ns=START_NS,
        end_ns=START_NS + length_ns,
        step_ns=NS_PER_S,
        bar_ns=NS_PER_MINUTE,
        initial_prices={each.symbol: settings.initial_price(each.symbol) for each in instruments},
        spread_bps={each.symbol: 1.0 for each in instruments},
    )


def begun(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start to generate far more than can be done in time, and return when it is under way."""
    process = subprocess.Popen(
        [*COMMAND, "--out", str(folder), "--weeks", "500", *arguments], stderr=subprocess.PIPE, text=True
    )
    while len(list(folder.glob(".*.part")) if folder.exists() else ()) < 2:
        try:
            pytest.fail(f"ended with {process.wait(0.05)} before it had begun")
        except subprocess.TimeoutExpired:
            continue
    return process


def test_processes_of_their_own_write_the_same_bytes(tmp_path: Path) -> None:
    written = {}
    for processes in (1, 2):
        history = history_of(360 * NS_PER_MINUTE)
        told: list[int] = []
        files = generate(history, tmp_path / str(processes), processes=processes, progress=told.append)
        written[processes] = [(file.path.name, file.rows, file.sha256) for file in files]
        assert told[-1] == 2 * history.steps
        assert told == sorted(told)

    assert written[1] == written[2]
    assert [name[:3] for name, _, _ in written[1]] == ["btc", "eth"]


def test_who_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    with begun(tmp_path / "history") as process:
        process.terminate()

        assert process.wait(PATIENCE_S) == 130

    assert list((tmp_path / "history").iterdir()) == []


def test_who_is_killed_leaves_no_file_that_looks_whole(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    with begun(folder) as process:
        process.kill()
        process.wait(PATIENCE_S)

    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


def test_a_full_disk_is_told_of_and_nothing_is_left_behind(tmp_path: Path) -> None:
    limited = f"ulimit -f 32; exec {' '.join(COMMAND)} --out history --weeks 1 --step 1m --interval 1m --json"
    done = subprocess.run(
        ["/bin/bash", "-c", limited],
        cwd=tmp_path,
        env=PLAIN_PYTHON,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode == 1
    assert "cannot be written (File too large); nothing of it was left behind" in done.stderr
    assert list((tmp_path / "history").iterdir()) == []


async def test_a_generated_file_is_what_a_venue_with_that_seed_shows_and_what_its_replay_shows(tmp_path: Path) -> None:
    [btc, _] = generate(history_of(30 * NS_PER_MINUTE), tmp_path / "history")
    bars = bars_of_file(btc.path)
    common = {"DEFAULT_SYMBOLS": "BTC/USD,ETH/USD", "STORE": "memory", "START_TIME": "2026-01-01T00:00:00Z"}
    shown = {}
    for name, settings in {"modelled": {"SEED": "1"}, "replayed": {"REPLAY": str(btc.path)}}.items():
        async with running(tmp_path / name, {**common, **settings}, services=("market-data",), paused=True) as live:
            await live.clock.step(len(bars) * NS_PER_MINUTE)
            page = await live.market_data.service.candle_history(
                CandleQuery(symbol="BTC/USD", interval_ns=NS_PER_MINUTE, start_ns=0, limit=1_000)
            )
        shown[name] = [
            (c.open_ns, float(c.open), float(c.high), float(c.low), float(c.close), float(c.volume))
            for c in page.items
            if c.closed
        ]

    columns = (bars.open_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    assert shown["modelled"] == list(zip(*(column.tolist() for column in columns), strict=True))  # type: ignore[union-attr]
    assert shown["replayed"] == shown["modelled"]
