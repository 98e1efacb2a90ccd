import os
import sys
from pathlib import Path

import pytest

from fauxchange.bench.processes import child, environment, memory_of
from fauxchange.domain.errors import Unavailable

ECHO = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"


def test_child_answers_and_ends_with_the_block(tmp_path: Path) -> None:
    with child((sys.executable, "-c", ECHO), folder=tmp_path, speaks=True) as process:
        process.say({"number": 1})
        heard = process.hear(10.0)
        pid = process.pid

    assert heard == {"number": 1}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_child_that_fails_is_reported_with_what_it_wrote(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no such luck')")

    with (
        child(command, folder=tmp_path, speaks=True) as process,
        pytest.raises(Unavailable, match="ended with 1: no such luck"),
    ):
        process.hear(10.0)


def test_child_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with (
        child((sys.executable, "-c", ECHO), folder=tmp_path, speaks=True) as process,
        pytest.raises(Unavailable, match="said nothing"),
    ):
        process.hear(0.01)


def test_child_is_stopped_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), child((sys.executable, "-c", ECHO), folder=tmp_path) as process:
        raise KeyboardInterrupt

    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_processor_time_and_memory_of_a_child_are_read(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.05: pass\nprint({}, flush=True)\nimport sys; sys.stdin.read()"
    with child((sys.executable, "-c", busy), folder=tmp_path, speaks=True) as process:
        process.hear(10.0)

        assert process.cpu_s() >= 0.04
        assert 0 < process.memory().resident_bytes <= process.memory().peak_bytes


def test_own_memory_is_more_than_an_empty_interpreter_has() -> None:
    assert memory_of(os.getpid()).resident_bytes > 5_000_000


def test_users_settings_do_not_reach_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "8080")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://somewhere")
    monkeypatch.setenv("FAUXCHANGE_DATA", "/somewhere")

    names = environment({"GRPC_PORT": "0"})

    assert names["GRPC_PORT"] == "0"
    assert not {"HTTP_PORT", "POSTGRES_URL", "FAUXCHANGE_DATA"} & set(names)
    assert names["PATH"] == os.environ["PATH"]
