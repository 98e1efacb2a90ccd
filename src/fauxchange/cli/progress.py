"""Progress bars for work that may take longer than a moment."""

import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Self

from rich.progress import Progress, TaskID

PROGRESS_AFTER_S = 0.5
"""What is done sooner is not worth a progress bar."""


class LateProgress:
    """A progress bar that appears when work takes longer than a moment; silent where nobody looks."""

    def __init__(
        self, make_bar: Callable[[], Progress], *, shown: bool, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._make_bar = make_bar
        self._shown = shown
        self._now_s = now_s
        self._since_s: float | None = None
        self._progress: Progress | None = None
        self._tasks: dict[Hashable, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def show(self, what: Hashable, description: str, done: int, total: int) -> None:
        """Show how far one piece of the work is."""
        if not self._shown:
            return
        now_s = self._now_s()
        if self._since_s is None:
            self._since_s = now_s
        if self._progress is None:
            if now_s - self._since_s < PROGRESS_AFTER_S:
                return
            self._progress = self._make_bar()
            self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(description, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def finish(self) -> None:
        """Take the bar off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
