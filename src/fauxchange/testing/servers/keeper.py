"""The keeper: a process that outlives a killed test run just long enough to clear away what it started.

It runs as a script of the standard library alone, in a session of its own, and waits for its standard input to end.
That happens when the launching process closes it or dies, however it dies. Then every process that works in one of the
launcher's folders is killed and the folders are removed: nothing has to be registered, so nothing can be forgotten.
"""

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CLEAR_TIMEOUT_S = 10.0
POLL_S = 0.01
SHARED_MEMORY_LINE = 6
REMOVE_SEGMENT = 0
"""`IPC_RMID` of shmctl(2)."""


def workers_in(folder: Path) -> Iterator[int]:
    """Yield the processes whose working directory lies in the folder; the dead are not among them."""
    inside = f"{folder}/"
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                at = os.readlink(entry / "cwd")
            except OSError:
                continue
            if f"{at}/".startswith(inside):
                yield int(entry.name)


def kill_workers(folder: Path) -> None:
    """Kill whoever works in the folder, until nobody does."""
    deadline_s = time.monotonic() + CLEAR_TIMEOUT_S
    while time.monotonic() < deadline_s:
        pids = list(workers_in(folder))
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(POLL_S)


def release_shared_memory(folder: Path) -> None:
    """Remove the System V segments that killed PostgreSQL servers left behind: nothing in a folder keeps them."""
    for record in folder.rglob("postmaster.pid"):
        try:
            fields = record.read_text(encoding="utf-8").splitlines()[SHARED_MEMORY_LINE].split()
            ctypes.CDLL(None).shmctl(int(fields[1]), REMOVE_SEGMENT, None)
        except (OSError, IndexError, ValueError):
            continue


def clear(folder: Path) -> None:
    """End everything that works in the folder and remove it with all that it holds."""
    kill_workers(folder)
    release_shared_memory(folder)
    shutil.rmtree(folder, ignore_errors=True)


def main(folders: list[Path]) -> None:
    """Wait until the launching process is gone, then clear its folders."""
    sys.stdin.buffer.read()
    for folder in folders:
        clear(folder)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
