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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from fauxchange.data.sqlite.files import folder_refused
from fauxchange.domain.errors import Unavailable

HEAD: Final = struct.Struct("<I")
READ_BYTES: Final = 1 << 20
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
        self._unsent: list[bytes] = []
        self._unread = b""
        self._closing = False
        self._ended = asyncio.Event()
        self._start()

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return None if self._process is None else self._process.pid

    def send(self, job: Any) -> None:
        """Hand a job over. Raises: Unavailable if there is no process and none can be started."""
        if self._socket is None:
            self._start()
        body = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
        self._write(HEAD.pack(len(body)) + body)

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
        self._socket = ours
        self._ended.clear()
        self._loop.add_reader(ours.fileno(), self._readable, ours)

    def _write(self, frame: bytes) -> None:
        if self._unsent:
            self._unsent.append(frame)
            return
        sent = self._send(frame)
        if sent < len(frame) and self._socket is not None:
            self._unsent.append(frame[sent:])
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        whole = b"".join(self._unsent)
        sent = self._send(whole)
        self._unsent = [whole[sent:]] if sent < len(whole) else []
        if not self._unsent and self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            if self._closing:
                self._socket.shutdown(socket.SHUT_WR)

    def _send(self, data: bytes) -> int:
        """Return how many bytes the socket took; all of them, unread, if nobody is there: `_readable` hears of it."""
        if self._socket is None:
            return len(data)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _readable(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            if not self._closing:
                self._kill()
            self._end()
            return
        data = self._unread + data if self._unread else data
        bodies, self._unread = whole_frames(data)
        for body in bodies:
            answers, problem = pickle.loads(body)  # noqa: S301 - from our own process, over a socket nobody else has
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
        self._unsent, self._unread = [], b""
        code: int | None = None
        if process is not None:
            # It has closed its socket, which is the last thing that it does, or it was killed.
            code = process.wait()
        self._ended.set()
        self._lost(f"the process that writes {self._path} has ended ({code})")


def whole_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the bodies of the whole frames that `data` begins with, and what is left."""
    bodies: list[bytes] = []
    at = 0
    while len(data) - at >= HEAD.size:
        end = at + HEAD.size + HEAD.unpack_from(data, at)[0]
        if end > len(data):
            break
        bodies.append(data[at + HEAD.size : end])
        at = end
    return bodies, data[at:]


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
