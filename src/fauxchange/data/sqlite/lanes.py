"""How jobs reach the one who writes a file: a thread, or a process of its own.

A thread needs the interpreter lock to take a job, around each call into SQLite and to answer, and a busy event loop
lets go of it only when it is forced to. Beside a loop that is busy with orders that costs both of them: measured on two
cores, a third of the orders per second, and most of the slowest answers. A process needs nothing of the loop: a job
costs one write to a socket, its answer one read.

A process outlives nobody: it ends when its socket does, with what it is doing but nothing more, and holds the file's
lock until then, so that whoever comes next finds what is stored to be final.
"""

import asyncio
import fcntl
import os
import pickle
import queue
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from fauxchange.data.sqlite.files import folder_refused
from fauxchange.domain.errors import Unavailable

HEAD: Final = struct.Struct("<I")
READ_BYTES: Final = 1 << 20
KEPT_BYTES: Final = 1 << 24
"""Above this, memory for a frame is given back when it was taken."""
SEND_BYTES: Final = 1 << 20
PIECES_AT_ONCE: Final = 8
"""A piece is some 64 KiB at most, as pickles are written."""
CLOSE_TIMEOUT_S: Final = 60.0
LOCK_TIMEOUT_S: Final = 5.0
LOCK_POLL_S: Final = 0.01
MODULE: Final = "fauxchange.data.sqlite.writer_process"

Deliver = Callable[[Sequence[Any], "str | None"], None]
"""Takes the answers of the oldest jobs, in their order, and the writer's problem."""


class Writer(Protocol):
    """Who does the jobs. `problem` says why the last one failed, None if it did not."""

    problem: str | None

    def handle(self, jobs: Sequence[Any]) -> list[Any]:
        """Do the jobs in their order and return an answer for each."""
        ...

    def probe(self) -> None:
        """Try whether the store works again."""
        ...

    def close(self) -> str | None:
        """Close the file; return what went wrong with that."""
        ...


class Lane(Protocol):
    """The way to a writer; answers come on the event loop."""

    def send(self, job: Any) -> None:
        """Hand a job over."""
        ...

    async def close(self) -> str | None:
        """Let the writer finish what it was given, and end it; return what went wrong with that."""
        ...


class ThreadLane:
    """A writer in a thread."""

    def __init__(self, writer: Writer, deliver: Deliver, *, name: str, probe_interval_s: float) -> None:
        self._writer = writer
        self._deliver = deliver
        self._probe_interval_s = probe_interval_s
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._left: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def send(self, job: Any) -> None:
        """Hand a job over."""
        self._jobs.put(job)

    async def close(self) -> str | None:
        """Let the thread finish what it was given, and end it."""
        self._jobs.put(None)
        await self._stopped.wait()
        self._thread.join()
        return self._left

    def _run(self) -> None:
        writer, closing = self._writer, False
        while not closing:
            try:
                job = self._jobs.get(timeout=None if writer.problem is None else self._probe_interval_s)
            except queue.Empty:
                writer.probe()
                self._loop.call_soon_threadsafe(self._deliver, (), writer.problem)
                continue
            jobs, closing = self._gather(job)
            if jobs:
                answers = writer.handle(jobs)
                self._loop.call_soon_threadsafe(self._deliver, answers, writer.problem)
        self._left = writer.close()
        self._loop.call_soon_threadsafe(self._stopped.set)

    def _gather(self, job: Any) -> tuple[list[Any], bool]:
        jobs: list[Any] = []
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True


class ProcessLane:
    """A writer in a process of its own, begun with the first job and begun anew after its death.

    `lock` is what `hold` has returned for the file; the process keeps it as well, and `close` gives it back.
    `lost` is told when the process is gone with jobs unanswered: it is dead then, and what it had not stored it never
    will.
    """

    def __init__(
        self,
        kind: str,
        path: Path,
        deliver: Deliver,
        lost: Callable[[str], None],
        *,
        lock: int,
        probe_interval_s: float,
    ) -> None:
        self._kind = kind
        self._path = path
        self._deliver = deliver
        self._lost = lost
        self._probe_interval_s = probe_interval_s
        self._loop = asyncio.get_running_loop()
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unsent: deque[memoryview] = deque()
        self._frames = Frames()
        self._closing = False
        self._ended = asyncio.Event()
        self._start()

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return None if self._process is None else self._process.pid

    def send(self, job: Any) -> None:
        """Hand a job over. Raises: Unavailable if there is no process and none can be started."""
        self.send_frame(framed(job))

    def send_frame(self, frame: Sequence[bytes]) -> None:
        """Hand a job over that was `framed` elsewhere. Raises: as `send`."""
        if self._socket is None:
            self._start()
        self._write(frame)

    async def close(self) -> str | None:
        """Let the process finish what it was given, and end it."""
        self._closing = True
        left: str | None = None
        if self._socket is not None:
            if not self._unsent:
                self._socket.shutdown(socket.SHUT_WR)
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                left = f"its process did not end within {CLOSE_TIMEOUT_S:g} s"
                self._kill()
                self._end()
        os.close(self._lock)
        return left

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [self._kind, str(theirs.fileno()), str(self._path), repr(self._probe_interval_s)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this very program, and nothing from outside
                    [sys.executable, "-m", MODULE, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), self._lock),
                )
            except OSError as exc:
                ours.close()
                raise Unavailable(f"the process that writes {self._path} cannot be started: {exc}") from exc
        ours.setblocking(False)
        # A projection waits in the system's memory, rather than for the loop to be told that there is room again.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        self._socket = ours
        self._ended.clear()
        self._loop.add_reader(ours.fileno(), self._readable, ours)

    def _write(self, frame: Sequence[bytes]) -> None:
        waits = bool(self._unsent)
        self._unsent.extend(map(memoryview, frame))
        if waits:
            return
        self._push()
        if self._unsent and self._socket is not None:
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        self._push()
        if not self._unsent and self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            if self._closing:
                self._socket.shutdown(socket.SHUT_WR)

    def _push(self) -> None:
        """Send some of what is unsent; not all, because the loop has others to serve."""
        sent = self._send(list(islice(self._unsent, PIECES_AT_ONCE)))
        while sent:
            first = self._unsent.popleft()
            if sent < len(first):
                self._unsent.appendleft(first[sent:])
            sent -= min(sent, len(first))

    def _send(self, pieces: Sequence[memoryview]) -> int:
        """Return how many bytes the socket took; all of them, unread, if nobody is there: `_readable` hears of it."""
        if self._socket is None:
            return sum(map(len, pieces))
        try:
            return self._socket.sendmsg(pieces)
        except BlockingIOError:
            return 0
        except OSError:
            return sum(map(len, pieces))

    def _readable(self, channel: socket.socket) -> None:
        try:
            taken = channel.recv_into(self._frames.room())
        except BlockingIOError:
            return
        except OSError:
            taken = 0
        if not taken:
            if not self._closing:
                self._kill()
            self._end()
            return
        for answers, problem in self._frames.take(taken):
            self._deliver(answers, problem)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _end(self) -> None:
        """Take note that the process is gone, and tell."""
        channel, self._socket = self._socket, None
        process, self._process = self._process, None
        if channel is not None:
            self._loop.remove_reader(channel.fileno())
            self._loop.remove_writer(channel.fileno())
            channel.close()
        self._unsent.clear()
        self._frames = Frames()
        code: int | None = None
        if process is not None:
            # It has closed its socket, which is the last thing that it does, or it was killed.
            code = process.wait()
        self._ended.set()
        self._lost(f"the process that writes {self._path} has ended ({code})")


class _Pieces:
    """What a pickle is written to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append


def framed(job: Any) -> list[bytes]:
    """Return a job or an answer as it crosses a socket, piece by piece.

    A projection is megabytes. In one piece it would take fresh memory from the system each time, page by page, which is
    ten times the work of writing it.
    """
    pieces = _Pieces()
    pickle.Pickler(pieces, pickle.HIGHEST_PROTOCOL).dump(job)
    return [HEAD.pack(sum(map(len, pieces.written))), *pieces.written]


class Frames:
    """Takes what comes over a socket, always into the same memory, and returns what the whole frames say."""

    def __init__(self) -> None:
        self._buffer = bytearray(READ_BYTES)
        self._filled = 0

    def room(self) -> memoryview:
        """Return where that belongs which comes next."""
        return memoryview(self._buffer)[self._filled :]

    def take(self, count: int) -> list[Any]:
        """Take note of so many bytes that came, and return the jobs or answers that are whole by now."""
        self._filled += count
        jobs: list[Any] = []
        at, needed = 0, READ_BYTES
        with memoryview(self._buffer) as view:
            while self._filled - at >= HEAD.size:
                begun = at + HEAD.size
                end = begun + HEAD.unpack_from(view, at)[0]
                if end > self._filled:
                    needed = max(needed, end - at)
                    break
                jobs.append(pickle.loads(view[begun:end]))  # noqa: S301 - between two processes that nobody else reaches
                at = end
        self._keep(at, needed)
        return jobs

    def _keep(self, begun: int, needed: int) -> None:
        """Go on with what is behind `begun`, in memory for so many bytes."""
        size = len(self._buffer)
        if begun or needed > size:
            left = self._buffer[begun : self._filled]
            if needed > size or size > KEPT_BYTES:
                self._buffer = bytearray(needed)
            self._buffer[: len(left)] = left
            self._filled = len(left)


async def hold(path: Path) -> int:
    """Lock a file for this process and the writers that it starts; return the descriptor that holds the lock.

    The writer of a process that was killed may still be storing its last job; it is waited for.
    Raises: Unavailable if another process keeps it; ConfigurationError if the folder cannot be used
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise folder_refused(path, exc) from exc
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                os.close(lock)
                raise Unavailable(f"another process writes {path}") from exc
            await asyncio.sleep(LOCK_POLL_S)
        else:
            return lock
