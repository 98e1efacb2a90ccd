"""A venue, or one service, in a process of its own: a clean environment, free ports, found through its `ready.json`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fauxchange.domain.errors import NotFound, Unavailable
from fauxchange.platform.ready import read_ready
from fauxchange.platform.settings import documented_settings
from fauxchange.testing.addresses import Venue

COMMAND: Sequence[str] = (sys.executable, "-m", "fauxchange.cli")
APART: Mapping[str, str] = {"HTTP_PORT": "0", "GRPC_PORT": "0", "AUDIT_PORT": "0", "LOG_FORMAT": "json"}
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.01
LOG_TAIL_CHARS = 4_000


class VenueProcess:
    """A venue's process, from before it is ready until after its end."""

    def __init__(self, process: "subprocess.Popen[bytes]", data_dir: Path, log: Path) -> None:
        self.data_dir = data_dir
        self._process = process
        self._log = log
        self._venue: Venue | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything the process has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def venue(self) -> Venue:
        """Where the venue can be reached, once it is ready. Raises: Unavailable if it ended or took too long."""
        if self._venue is None:
            self._venue = self._await_ready()
        return self._venue

    def terminate(self) -> None:
        """Ask for a graceful stop (SIGTERM) and return at once."""
        self._process.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): connections stay open, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without any grace (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Return the exit code once it has ended. Raises: Unavailable if that takes too long."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"the venue still runs after {timeout_s:g} s: {self._tail()}") from None

    def stop(self) -> int:
        """Stop gracefully and return the exit code; safe to call twice."""
        if self._process.poll() is None:
            self.terminate()
        return self.wait()

    def _await_ready(self) -> Venue:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            code = self._process.poll()
            if code is not None:
                raise Unavailable(f"the venue ended with {code}: {self._tail()}")
            try:
                ready = read_ready(self.data_dir)
            except NotFound:
                time.sleep(POLL_S)
                continue
            if ready.pid == self.pid:
                return Venue.of(ready)
            time.sleep(POLL_S)
        raise Unavailable(f"the venue was not ready after {START_TIMEOUT_S:g} s: {self._tail()}")

    def _tail(self) -> str:
        return self.log[-LOG_TAIL_CHARS:] or "it said nothing"


def launch(data_dir: Path, settings: Mapping[str, str] | None = None, *, service: str | None = None) -> VenueProcess:
    """Launch the process of a whole venue, or of one service; the caller ends it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "log.txt"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*COMMAND, *(["up"] if service is None else ["serve", service])],
            # Where no `.env` lies.
            cwd=data_dir,
            env=clean_environment({**APART, "DATA_DIR": str(data_dir), **(settings or {})}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return VenueProcess(process, data_dir, log)


@contextmanager
def launched(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, service: str | None = None
) -> Iterator[VenueProcess]:
    """Launch a process for as long as the block lasts, without waiting for it."""
    child = launch(data_dir, settings, service=service)
    try:
        yield child
    finally:
        try:
            child.stop()
        finally:
            child.kill()


@contextmanager
def started(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, service: str | None = None
) -> Iterator[VenueProcess]:
    """Run a venue, or one service, in a process of its own while the block lasts; the block begins when it is ready.

    Raises: Unavailable, with what the process wrote, if it does not get ready
    """
    with launched(data_dir, settings, service=service) as child:
        _ = child.venue
        yield child


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings and none of the user's."""
    documented = {setting.name for setting in documented_settings()}
    kept = {name: value for name, value in os.environ.items() if name not in documented}
    return {**kept, **settings}
