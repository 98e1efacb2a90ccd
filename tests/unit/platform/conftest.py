"""An event loop whose time jumps, for tests of what takes time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.jumped_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.jumped_s


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._jumping_loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self._jumping_loop.jumped_s += timeout
        return super().select(0)


def _run_jumping(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main())


@pytest.fixture
def run_jumping() -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    """Return a function that runs a coroutine function on a jumping loop and returns its result."""
    return _run_jumping
