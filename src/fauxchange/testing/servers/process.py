"""A server's process: started as an unprivileged user, frozen, thawed, killed, together with its children."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fauxchange.domain.errors import InvariantViolation, check
from fauxchange.testing.servers.errors import ServerFailed
from fauxchange.testing.servers.home import Port, account, reserve_port

START_TIMEOUT_S = 60.0
START_ATTEMPTS = 5
STOP_TIMEOUT_S = 30.0
STATE_TIMEOUT_S = 10.0
POLL_S = 0.005
LOG_TAIL_CHARS = 3_000
PORT_TAKEN = "Address already in use"
KEPT = ("PATH", "LD_LIBRARY_PATH")
"""What a server's environment has of the caller's; settings of other servers stay outside."""


GONE = frozenset({"", "Z", "X"})
STILL = frozenset({"T", *GONE})
"""States of processes, in the letters of /proc: none, dead and not yet asked about, dead; stopped."""


class PortTaken(ServerFailed):
    """Somebody else listens on the port that the server was given."""


def environment() -> dict[str, str]:
    """Return the environment that servers and their tools run in."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def spawn(argv: Sequence[str], folder: Path, output: int) -> "subprocess.Popen[bytes]":
    """Start a program in a folder as the account for servers, in a session of its own."""
    owner = account()
    return subprocess.Popen(  # noqa: S603 - programs that the launcher found, no shell
        argv,
        cwd=folder,
        env={**environment(), "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        # Ctrl-C is for the tests; the servers are stopped by them.
        start_new_session=True,
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
    )


class ServerProcess:
    """The process of one server, which may be started again after it has ended."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        *,
        is_ready: Callable[[int], bool],
        stop_signal: signal.Signals,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.folder = folder
        self._is_ready = is_ready
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log.txt"

    @property
    def pid(self) -> int:
        """The id of the main process."""
        check(self._process is not None, "the server was started")
        return self._process.pid if self._process is not None else 0

    @property
    def is_running(self) -> bool:
        """Whether the main process is there; a frozen one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_frozen(self) -> bool:
        """Whether the main process is stopped by a signal."""
        return self.is_running and state_of(self.pid) == "T"

    @property
    def log(self) -> str:
        """Everything the server has written."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it answers. Raises: PortTaken or ServerFailed, with the end of its log."""
        check(not self.is_running, f"{self.name} runs already")
        before = len(self.log)
        with self._log.open("ab") as output:
            self._process = spawn(self.argv, self.folder, output.fileno())
        try:
            self._await_ready(before)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop it in order, frozen or not; what does not stop is killed. Safe to call twice."""
        if not self.is_running:
            return
        self._thaw()
        process = self._started()
        process.send_signal(self._stop_signal)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and its children at once, as a loss of power would; returns when all are gone."""
        if not self.is_running:
            return
        # Nothing that is frozen can start another child or finish what it is doing.
        pids = self._freeze()
        for pid in pids:
            _send(pid, signal.SIGKILL)
        self._started().wait(STATE_TIMEOUT_S)
        _await_states(pids, GONE, f"{self.name} to be gone")

    def freeze(self) -> None:
        """Stop it and its children where they are (SIGSTOP); returns when all stand still."""
        check(self.is_running, f"{self.name} runs")
        self._freeze()

    def thaw(self) -> None:
        """Let it and its children go on (SIGCONT); without effect on one that was not frozen."""
        check(self.is_running, f"{self.name} runs")
        self._thaw()

    def _await_ready(self, log_before: int) -> None:
        process = self._started()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready(self.pid):
            code = process.poll()
            if code is not None:
                said = self.log[log_before:]
                kind = PortTaken if PORT_TAKEN in said else ServerFailed
                raise kind(f"{self.name} ended with {code} instead of starting: {said[-LOG_TAIL_CHARS:]}")
            if time.monotonic() > deadline_s:
                raise ServerFailed(f"{self.name} did not answer within {START_TIMEOUT_S:g} s: {self._tail()}")
            time.sleep(POLL_S)

    def _freeze(self) -> list[int]:
        _send(self.pid, signal.SIGSTOP)
        # Only a parent that stands still has no more children.
        _await_states([self.pid], STILL, f"{self.name} to stand still")
        children = descendants(self.pid)
        for pid in children:
            _send(pid, signal.SIGSTOP)
        _await_states(children, STILL, f"the children of {self.name} to stand still")
        return [self.pid, *children]

    def _thaw(self) -> None:
        for pid in (*descendants(self.pid), self.pid):
            _send(pid, signal.SIGCONT)

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise ServerFailed(f"{self.name} was never started")
        return self._process

    def _tail(self) -> str:
        return self.log[-LOG_TAIL_CHARS:] or "it said nothing"


def start_on_free_port(make: Callable[[int], ServerProcess]) -> tuple[ServerProcess, Port]:
    """Start the server that is made for a port, on another port where somebody took it in between.

    Raises: ServerFailed if it does not start
    """
    for left in reversed(range(START_ATTEMPTS)):
        port = reserve_port()
        process = make(port.number)
        try:
            process.start()
        except PortTaken:
            port.release()
            if not left:
                raise
            continue
        except BaseException:
            port.release()
            raise
        return process, port
    raise InvariantViolation("there is at least one attempt")


def descendants(pid: int) -> list[int]:
    """Return the children of a process and theirs, parents first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if len(fields) > 1:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = sorted(parents.get(waiting.pop(0), []))
        found += children
        waiting += children
    return found


def _stat(pid: int) -> list[str]:
    """Return what the system knows about a process, its state first; nothing where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name stands in parentheses and may hold anything.
    return text.rpartition(")")[2].split()


def state_of(pid: int) -> str:
    """Return the state of a process in the letters of /proc; nothing where there is none."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _await_states(pids: Sequence[int], states: frozenset[str], wanted: str) -> None:
    deadline_s = time.monotonic() + STATE_TIMEOUT_S
    while not all(state_of(pid) in states for pid in pids):
        if time.monotonic() > deadline_s:
            raise ServerFailed(f"waited {STATE_TIMEOUT_S:g} s for {wanted}")
        time.sleep(POLL_S)
