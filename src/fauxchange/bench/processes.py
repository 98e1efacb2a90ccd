"""Child processes of a benchmark: started in a clean environment, measured from outside, stopped by their own id.

Children of our own speak in lines of JSON: what they hear on standard input, what they say on standard output. They
end when their standard input does, so none of them outlives the benchmark. The venue is the real command, in a data
folder of its own; it is found through its `ready.json`.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from fauxchange.domain.errors import NotFound, Unavailable
from fauxchange.platform.ready import Ready, read_ready
from fauxchange.platform.settings import documented_settings

FAUXCHANGE = (sys.executable, "-m", "fauxchange.cli")
UP = (*FAUXCHANGE, "up")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.002
LOG_TAIL_BYTES = 2_000

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BYTES = {"kB": 1_024}


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process keeps in memory now, and the most it ever kept. Units: bytes."""

    resident_bytes: int
    peak_bytes: int


class Child:
    """A running child process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._heard = b""

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def check_alive(self) -> None:
        """Raise Unavailable, with the end of what the process wrote, if it has ended."""
        code = self._process.poll()
        if code is not None:
            tail = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            raise Unavailable(f"the benchmark's process ended with {code}: {tail or 'it said nothing'}")

    def say(self, document: object) -> None:
        """Send one line. Raises: Unavailable if the process has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait(STOP_TIMEOUT_S)
            self.check_alive()

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """Return the next line. Raises: Unavailable if none comes in time."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise Unavailable(f"the benchmark's process {self.pid} said nothing for {timeout_s:g} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    self._process.wait(STOP_TIMEOUT_S)
                    self.check_alive()
                    raise Unavailable("the benchmark's process ended before it had said everything")
                self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        document: dict[str, Any] = json.loads(line)
        return document

    def cpu_s(self) -> float:
        """Return the processor time of all its threads so far, in user and system mode. Units: seconds."""
        # The name in brackets may hold anything; what follows it is numbered from the third field.
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory(self) -> Memory:
        """Return how much memory it has."""
        return memory_of(self.pid)

    def stop(self) -> int:
        """Tell it to stop, insist if it does not, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return self._process.wait()


@dataclass(frozen=True, slots=True)
class Venue:
    """A running venue."""

    process: Child
    ready: Ready

    @property
    def http(self) -> str:
        """Host and port of REST and WebSocket."""
        return self.ready.http.partition("://")[2]

    @property
    def grpc(self) -> str:
        """Host and port of gRPC."""
        return self.ready.grpc


def memory_of(pid: int) -> Memory:
    """Return how much memory a process has."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)

    def read(name: str) -> int:
        number, unit = fields[name].split()
        return int(number) * _BYTES[unit]

    return Memory(resident_bytes=read("VmRSS"), peak_bytes=read("VmHWM"))


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with these settings, and none of the user's, which would change the figures."""
    documented = {setting.name for setting in documented_settings()}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in documented and not name.startswith("FAUXCHANGE_")
    }
    return {**kept, **(settings or {})}


@contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="fauxchange-bench-") as folder:
        yield Path(folder)


@contextmanager
def child(
    command: Sequence[str], *, folder: Path, settings: Mapping[str, str] | None = None, speaks: bool = False
) -> Iterator[Child]:
    """Run a command in a folder for as long as the block lasts; what it logs goes to a file there.

    One that does not speak has its standard output logged too.
    """
    log = folder / "log.txt"
    with log.open("ab") as stderr, _terminable():
        process = Child(
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment(settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if speaks else stderr,
                stderr=stderr,
            ),
            log,
        )
        try:
            yield process
        finally:
            process.stop()


@contextmanager
def own_child(module: str, options: Mapping[str, object]) -> Iterator[Child]:
    """Run one of the benchmarks' own programs with options in JSON."""
    command = (sys.executable, "-m", f"fauxchange.bench.{module}", json.dumps(options))
    with scratch() as folder, child(command, folder=folder, speaks=True) as process:
        yield process


@contextmanager
def venue(settings: Mapping[str, str], *, service: str | None = None) -> Iterator[Venue]:
    """Run `fauxchange up`, or one service, in a folder of its own, on free ports; the block begins when it is ready."""
    command = UP if service is None else (*FAUXCHANGE, "serve", service)
    with scratch() as folder, child(command, folder=folder, settings=own_settings(folder, settings)) as process:
        yield Venue(process, await_ready(process, folder))


def own_settings(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings that keep a venue apart from any other on the machine."""
    apart = {"DATA_DIR": str(folder), "HTTP_PORT": "0", "GRPC_PORT": "0", "AUDIT_PORT": "0", "LOG_FORMAT": "json"}
    return {**apart, **settings}


def await_ready(process: Child, folder: Path) -> Ready:
    """Return where a venue can be reached, once it says so. Raises: Unavailable if it ends, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        process.check_alive()
        try:
            return read_ready(folder)
        except NotFound:
            time.sleep(POLL_S)
    raise Unavailable(f"the venue was not ready after {START_TIMEOUT_S:g} s")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that no child is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
