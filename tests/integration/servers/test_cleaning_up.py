"""However a test run ends, nothing of its servers stays behind: no process, no folder, no shared memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import fauxchange
from fauxchange.testing.servers.home import account
from fauxchange.testing.servers.process import GONE, state_of

SCRIPT = Path(__file__).with_name("launching.py")
Wait = Callable[[Callable[[], object]], None]


class Run:
    """A process that has started servers, and where they are."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the run ended before its servers were there"
        self.told = json.loads(line)

    def let_end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)

    def remains(self) -> list[object]:
        """Return what is still there of the servers."""
        processes = [pid for pid in self.told["pids"] if state_of(pid) not in GONE]
        folders = [folder for folder in self.told["folders"] if Path(folder).exists()]
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        segments = [segment for segment in self.told["segments"] if segment in {int(row.split()[1]) for row in rows}]
        return [*processes, *folders, *segments]


@contextmanager
def run(
    manner: str, ending: str = "in order", *, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Iterator[Run]:
    unprivileged = account() if environment is not None else None
    process = subprocess.Popen(
        [python, str(SCRIPT), manner, ending],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        user=unprivileged.uid if unprivileged else None,
        group=unprivileged.gid if unprivileged else None,
        extra_groups=[] if unprivileged else None,
    )
    with process:
        try:
            yield Run(process)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "manner"), [(signal.SIGKILL, "within"), (signal.SIGKILL, "frozen"), (signal.SIGTERM, "abandoned")]
)
def test_a_run_that_is_killed_leaves_nothing(number: signal.Signals, manner: str, eventually: Wait) -> None:
    with run(manner) as killed:
        assert len(killed.remains()) >= 3 + 2 + 2

        os.kill(killed.process.pid, number)

        assert killed.process.wait(60) == -number
        eventually(lambda: killed.remains() == [])


@pytest.mark.parametrize("manner", ["within", "abandoned"])
def test_a_run_that_is_interrupted_at_the_keyboard_leaves_nothing(manner: str, eventually: Wait) -> None:
    with run(manner) as interrupted:
        # The terminal sends it to every process of the group.
        os.killpg(interrupted.process.pid, signal.SIGINT)

        assert interrupted.process.wait(60) == -signal.SIGINT
        assert interrupted.remains() == []


@pytest.mark.parametrize(("ending", "code"), [("in order", 0), ("hard", 3)])
def test_a_run_that_never_leaves_its_block_leaves_nothing(ending: str, code: int, eventually: Wait) -> None:
    with run("abandoned", ending) as run_ending:
        assert run_ending.let_end() == code

        eventually(lambda: run_ending.remains() == [])


def test_a_caller_without_privileges_runs_servers_as_itself(tmp_path: Path, eventually: Wait) -> None:
    nobody = account()
    if nobody is None:
        with run("within") as ours:
            assert set(ours.told["users"]) == {os.geteuid()}
        return
    python, environment = interpreter_for_nobody(tmp_path)

    with run("within", python=python, environment=environment) as theirs:
        assert set(theirs.told["users"]) == {nobody.uid}
        theirs.process.kill()
        theirs.process.wait(60)
        eventually(lambda: theirs.remains() == [])


def interpreter_for_nobody(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Return an interpreter of our version that others may run too, and what leads it to our packages."""
    version = f"python3.{sys.version_info.minor}"
    candidates = [sys.executable, *filter(None, (shutil.which(version, path="/usr/bin:/usr/local/bin"),))]
    packages = [str(Path(fauxchange.__file__).parents[1]), *(path for path in sys.path if path.endswith("-packages"))]
    # Where compiled kernels are cached is of no use to others.
    environment = {"PYTHONPATH": ":".join(packages), "HOME": "/nonexistent", "NUMBA_CACHE_DIR": str(tmp_path)}
    for python in candidates:
        parts = [Path(python).resolve(), *Path(python).resolve().parents, SCRIPT, *SCRIPT.parents, *map(Path, packages)]
        if all(part.stat().st_mode & 0o001 or part == SCRIPT for part in parts):
            return python, environment
    pytest.skip(f"root's {version} is for root alone, and there is no other one")
