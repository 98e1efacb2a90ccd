"""A copy of the kernel with one bug in it, and the proof that the lockstep finds it."""

import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from oracle.lockstep import CORE, Kernel, run_script

from fauxchange.services.exchange import core

SCRIPTS = 40
LENGTH = 500
PATIENCE_S = 10
"""How long one script may take in plain Python; a bug may also make the kernel run for ever."""


@dataclass(frozen=True)
class Bug:
    """One small change of the kernel's source that must not go unnoticed."""

    name: str
    file: str
    old: str
    new: str


class Endless(Exception):
    """A script took so long that the kernel must have lost its way."""


NO_BUG = Bug("no_bug", "engine.py", "Engine:", "Engine:")
"""For the control: a copy that is as good as the kernel itself."""


def plant(bug: Bug, folder: Path) -> str:
    """Copy the kernel's package with the bug in it into `folder`; return the name of the copy.

    Raises: AssertionError if the bug's text is not found exactly once
    """
    package = f"core_with_{bug.name}"
    (folder / package).mkdir()
    for source in Path(core.__path__[0]).glob("*.py"):
        text = source.read_text(encoding="utf-8")
        if source.name == bug.file:
            assert text.count(bug.old) == 1, f"{bug.file} has the text of {bug.name} {text.count(bug.old)} times"
            text = text.replace(bug.old, bug.new)
        (folder / package / source.name).write_text(text.replace(CORE, package), encoding="utf-8")
    return package


@contextmanager
def imported(package: str, folder: Path) -> Iterator[Kernel]:
    """Import a copied package for a while."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield Kernel.of(package)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]


def caught(bug: Bug, folder: Path, scripts: int = SCRIPTS) -> str | None:
    """Return what gave the bug away, or None if no script did.

    Raises: RuntimeError if the planted text names what is not there
    """
    with imported(plant(bug, folder), folder) as kernel:
        for seed in range(scripts):
            try:
                with at_most(PATIENCE_S):
                    run_script(seed, LENGTH, kernel=kernel, compiler=lambda function: function, whole_every=5)
            except (AssertionError, Endless) as exc:
                slipped = isinstance(exc.__cause__, NameError | ImportError)
                if slipped:
                    raise RuntimeError(f"the text of {bug.name} has a slip, which proves nothing") from exc
                return str(exc)
    return None


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer.

    Raises: Endless
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Endless(f"no end within {seconds} s")

    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
