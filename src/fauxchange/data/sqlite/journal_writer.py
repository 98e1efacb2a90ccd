"""The journal's writer as the event loop sees it: batches go in, and each is answered when it is on the disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from fauxchange.data.sqlite.files import Open
from fauxchange.data.sqlite.journal_appender import Answer, Append, AskLast, JournalAppender
from fauxchange.data.sqlite.lanes import Lane, ProcessLane, ThreadLane
from fauxchange.domain.errors import FauxchangeError, Unavailable
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

Done = Callable[[Exception | None], None]
_Told = Callable[[Answer], None]

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""How much payload may wait for the disk before appends are refused."""


class JournalWriter:
    """Append batches one after another, and say how the store is.

    With a `lock` that was taken by `lanes.hold` it is a process of its own that writes, else a thread.
    """

    def __init__(self, path: Path, opener: Open, *, probe_interval_s: float, lock: int | None = None) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._waiting: deque[tuple[_Told, int]] = deque()
        self._waiting_bytes = 0
        self._problem: str | None = None
        self._lane: Lane = (
            ProcessLane("journal", path, self._answered, self._lost, lock=lock, probe_interval_s=probe_interval_s)
            if lock is not None
            else ThreadLane(
                JournalAppender(path, opener),
                self._answered,
                name="fauxchange-journal-writer",
                probe_interval_s=probe_interval_s,
            )
        )

    @property
    def problem(self) -> str | None:
        """Why the last append failed, or None if it did not."""
        return self._problem

    def append_soon(self, first_sequence: int, last_sequence: int, payload: bytes, done: Done) -> None:
        """Hand a batch over; `done` gets the outcome on the event loop."""
        if self._closing or self._waiting_bytes > MAX_WAITING_BYTES:
            reason = "is closed" if self._closing else "is slower than its callers"
            self._loop.call_soon(done, Unavailable(f"the journal {self._path} {reason}", retryable=not self._closing))
            return

        def told(answer: Answer) -> None:
            done(answer if isinstance(answer, Exception) else None)

        try:
            self._lane.send(Append(first_sequence, last_sequence, payload))
        except Unavailable as exc:
            self._loop.call_soon(done, exc)
            return
        self._waiting.append((told, len(payload)))
        self._waiting_bytes += len(payload)

    async def last_sequence(self) -> int:
        """Return the last sequence stored, read from the file once everything handed over before is settled.

        Raises: Unavailable, DamagedJournal
        """
        if self._closing:
            raise Unavailable(f"the journal {self._path} is closed", retryable=False)
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def told(answer: Answer) -> None:
            if not answered.cancelled():
                answered.set_result(answer)

        self._lane.send(AskLast())
        self._waiting.append((told, 0))
        answer = await answered
        if isinstance(answer, int):
            return answer
        raise answer or FauxchangeError("the journal's writer has answered another question")

    async def close(self) -> None:
        """Finish the accepted jobs, empty the log into the file and close it; refuse what comes later."""
        if self._closing:
            return
        self._closing = True
        left = await self._lane.close()
        if left is not None:
            # Nothing is lost: whoever opens the file next reads the log that stays beside it.
            _log.warning("write-ahead log stays beside the journal", file=str(self._path), reason=left)

    def _answered(self, answers: Sequence[Answer], problem: str | None) -> None:
        self._note(problem)
        # Room is made for all of them before the first is told, who may hand over the next.
        tellings = [self._waiting.popleft() for _ in answers]
        self._waiting_bytes -= sum(size for _, size in tellings)
        for (told, _), answer in zip(tellings, answers, strict=True):
            try:
                told(answer)
            # The event loop is told, as of any callback that raises; the callers behind this one must hear as well.
            except Exception as exc:
                self._loop.call_exception_handler({"message": "journal: a caller failed when told", "exception": exc})

    def _lost(self, reason: str) -> None:
        """Fail what the writer's process had not answered; `last_sequence` asks a new one what is stored."""
        if self._waiting:
            self._answered([Unavailable(reason)] * len(self._waiting), reason)

    def _note(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            _log.error("journal cannot be written", file=str(self._path), reason=problem)
        elif problem is None and self._problem is not None:
            _log.warning("journal can be written again", file=str(self._path))
        self._problem = problem
