"""`fauxchange warm-up`; that it leaves nothing to compile is tried in `tests/integration/test_deployment.py`."""

from collections.abc import Callable

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_warm_up_says_why_nothing_can_be_compiled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")

    result = run("warm-up")

    assert result.exit_code == 2
    assert "NUMBA_DISABLE_JIT is set" in result.stderr
