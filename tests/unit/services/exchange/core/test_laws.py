"""Laws of state and replay, over random scripts: however one comes to a state, it is the same state."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from oracle.lockstep import Kernel
from oracle.recording import outcome, recorded

from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core.engine import Engine, dump_state, load_state

TESTS = Path(__file__).parents[4]
COMMANDS = 2_000


@pytest.fixture(scope="module")
def script() -> Any:
    return recorded(20_260, COMMANDS, Kernel.of())


def test_loaded_snapshot_has_the_same_hash_and_goes_on_the_same(script: Any) -> None:
    half = len(script) // 2
    live = Engine(compiler=compile_kernel)
    live.apply(script[:half])

    loaded = Engine(state=load_state(dump_state(live.state)), compiler=compile_kernel)

    assert loaded.state_hash() == live.state_hash()
    assert loaded.apply(script[half:]).tobytes() == live.apply(script[half:]).tobytes()
    assert loaded.state_hash() == live.state_hash()


def test_snapshot_after_every_few_commands_changes_nothing(script: Any) -> None:
    live, moved = Engine(compiler=compile_kernel), Engine(compiler=compile_kernel)

    for begin in range(0, len(script), 40):
        part = script[begin : begin + 40]
        events = live.apply(part)
        moved = Engine(state=load_state(dump_state(moved.state)), compiler=compile_kernel)
        assert moved.apply(part).tobytes() == events.tobytes()

    assert moved.state_hash() == live.state_hash()


@pytest.mark.parametrize("portion", [1, 7, 500])
def test_replay_gives_the_same_events_and_state_in_any_portions(script: Any, portion: int) -> None:
    whole, parts = Engine(compiler=compile_kernel), Engine(compiler=compile_kernel)

    events = whole.apply(script).tobytes()
    told = b"".join(parts.apply(script[begin : begin + portion]).tobytes() for begin in range(0, len(script), portion))

    assert told == events
    assert parts.state_hash() == whole.state_hash()


def test_every_command_that_changes_something_changes_the_hash(script: Any) -> None:
    engine = Engine(compiler=compile_kernel)

    hashes = [engine.state_hash() for begin in range(300) if len(engine.apply(script[begin : begin + 1])) >= 0]

    assert len(set(hashes)) == len(hashes), "the sequence number alone is part of the state"


def test_plain_python_gives_the_same_events_and_state_as_machine_code() -> None:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(TESTS)}

    plain = subprocess.run(
        [sys.executable, "-m", "oracle.recording", "7", "800"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert plain.stdout.strip() == outcome(7, 800, compile_kernel)
