"""Waiting for what happens in other processes."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

DEADLINE_S = 60.0


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Return a function that waits until a condition holds, and fails when it has waited for a minute."""

    def wait(condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, "the condition does not come to hold"
            time.sleep(0.01)

    return wait


@pytest.fixture
def without_test_urls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forget servers that the caller's environment or `.env` names."""
    monkeypatch.chdir(tmp_path)
    for name in ("TEST_POSTGRES_URL", "TEST_REDIS_URL", "POSTGRES_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
