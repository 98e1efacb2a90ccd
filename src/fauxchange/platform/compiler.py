"""Compile kernel functions with Numba, with the same results as plain Python to the last bit.

Numba is imported here and nowhere else, and only when the first kernel is compiled. A compiled kernel is a clone of
the marked function in which the kernels it names are replaced by their compiled forms; the original stays as it is.

What keeps the two forms equal: no fast-math, no vector mathematics library, no fused multiply-add. What a kernel must
do for its part: call kernels by their bare name, use scalar functions of `math` (NumPy's own loops may round
differently), write `x * x` rather than `x**2`, and keep integers within 64 bits.

Compiled code is kept on disk. Numba notices an edit in the function's own file only, so the folder is named by all
that the code is made from: the sources of the modules of every kernel reached, the constants they name, the versions
of Numba and Python, and the CPU.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import platform
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from fauxchange.domain.errors import ConfigurationError, check
from fauxchange.domain.kernels import is_kernel, is_lean
from fauxchange.platform.logging import get_logger

Function = TypeVar("Function", bound=Callable[..., Any])

LEAN_OPTIONS = {"_nrt": False, "forceinline": True}
"""Without Numba's runtime there is nothing that could count references, nor allocate. Calls between lean kernels are
inlined whatever LLVM makes of their size: they cost more than the memory that the copies take."""

_log = get_logger(__name__)

_compiled: dict[types.FunctionType, Any] = {}
# Numba's cache folder is a setting of the whole process, read while a function is decorated.
_lock = threading.RLock()


def numba_available() -> bool:
    """Say whether kernels can be compiled here: Numba is installed and not switched off."""
    return not _jit_disabled() and importlib.util.find_spec("numba") is not None


def compile_kernel(function: Function) -> Function:
    """Return the compiled form of a kernel, or the kernel itself with `NUMBA_DISABLE_JIT=1`.

    The machine code is made, or loaded from the cache, at the first call with arguments of new types.

    Raises: ConfigurationError if Numba is not installed; InvariantViolation if the function is not marked as a kernel
    """
    check(is_kernel(function), f"{function!r} is not marked as a kernel")
    if _jit_disabled():
        return function
    if not numba_available():
        raise ConfigurationError("Numba is not installed: install it, or set MODEL_ENGINE=python")
    with _lock:
        return cast("Function", _compile(cast("types.FunctionType", function)))


def cache_folder(function: Function) -> Path | None:
    """Return the folder that keeps the compiled forms of `function` and the kernels it calls; None if it has no home.

    Raises: ConfigurationError if Numba is not installed
    """
    numba = _numba()
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(root) if root else Path.home() / ".cache"
    except RuntimeError:
        return None
    digest = hashlib.sha256()
    facts = (numba.__version__, np.__version__, platform.python_version(), _cpu(), str(LEAN_OPTIONS))
    for fact in (*facts, *_ingredients(cast("types.FunctionType", function))):
        digest.update(fact.encode() + b"\0")
    return base / "fauxchange" / "numba" / digest.hexdigest()[:24]


def _jit_disabled() -> bool:
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}


@functools.cache
def _numba() -> Any:
    """Import Numba, told to compute as Python does and to say what it compiles.

    It takes half a second, which only who compiles should pay, and it gives no useful types.
    """
    # Numba decides on the vector library while it is imported.
    os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")
    numba: Any = importlib.import_module("numba")
    if numba.config.CPU_FEATURES is None:
        codegen = importlib.import_module("numba.core.codegen")
        numba.config.CPU_FEATURES = codegen.get_host_cpu_features().replace("+fma", "-fma")
    _report_compilations()
    return numba


def _report_compilations() -> None:
    from numba.core import event  # noqa: PLC0415 - as heavy as Numba itself

    class Reporter(event.Listener):
        """Logs each compilation that was asked for; those of the kernels it calls are part of it."""

        def __init__(self) -> None:
            self.begun: list[float] = []

        def on_start(self, started: Any) -> None:
            log = _log.debug if self.begun else _log.info
            log("compiling kernel", kernel=started.data["dispatcher"].py_func.__qualname__)
            self.begun.append(time.monotonic())

        def on_end(self, ended: Any) -> None:
            seconds = round(time.monotonic() - self.begun.pop(), 3)
            log = _log.debug if self.begun else _log.info
            log("kernel compiled", kernel=ended.data["dispatcher"].py_func.__qualname__, seconds=seconds)

    event.register("numba:compile", Reporter())  # type: ignore[no-untyped-call]  # Numba's types are partial


def _compile(function: types.FunctionType) -> Any:
    known = _compiled.get(function)
    if known is not None:
        return known
    namespace = dict(function.__globals__)
    clone = types.FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__
    )
    # These two name the clone in the cache and in tracebacks.
    clone.__qualname__ = function.__qualname__
    clone.__module__ = function.__module__
    # Before the kernels it calls, so that one which calls itself finds its own compiled form.
    compiled = _compiled[function] = _decorated(clone, _usable_cache(function), lean=is_lean(function))
    for name, called in _called(function):
        namespace[name] = _compile(called)
    return compiled


def _decorated(clone: types.FunctionType, folder: Path | None, *, lean: bool) -> Any:
    numba = _numba()
    options = LEAN_OPTIONS if lean else {}
    if folder is None:
        return numba.njit(**options)(clone)
    earlier = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return numba.njit(cache=True, **options)(clone)
    finally:
        numba.config.CACHE_DIR = earlier


def _usable_cache(function: types.FunctionType) -> Path | None:
    """Return the cache folder, made and writable, or None: without this check Numba would write beside the source."""
    folder = cache_folder(function)
    if folder is None:
        _warn_uncached("there is no home folder")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as exc:
        _warn_uncached(f"{folder.parent}: {exc.strerror}")
        return None


@functools.cache
def _warn_uncached(reason: str) -> None:
    # Once for each reason, not for each kernel.
    _log.warning("compiled kernels are not cached", reason=reason)


def _ingredients(function: types.FunctionType) -> Iterator[str]:
    """Yield what the machine code of `function` follows from, in a fixed order."""
    reached: dict[types.FunctionType, None] = {function: None}
    pending = [function]
    while pending:
        for _, called in _called(pending.pop()):
            if called not in reached:
                reached[called] = None
                pending.append(called)
    yield from sorted({Path(inspect.getfile(kernel)).read_text(encoding="utf-8") for kernel in reached})
    for kernel in reached:
        for name in _names(kernel.__code__):
            if name in kernel.__globals__:
                yield from _frozen(name, kernel.__globals__[name])
        for name, cell in zip(kernel.__code__.co_freevars, kernel.__closure__ or (), strict=True):
            yield from _frozen(name, cell.cell_contents)


def _frozen(name: str, value: object) -> Iterator[str]:
    """Yield a constant that Numba builds into the code; functions and modules are told by their own sources."""
    if isinstance(value, np.ndarray):
        yield f"{name}={value.dtype}{value.shape}{value.tobytes().hex()}"
    elif not callable(value) and not isinstance(value, types.ModuleType):
        yield f"{name}={value!r}"


def _called(function: types.FunctionType) -> list[tuple[str, types.FunctionType]]:
    """Return the kernels that `function` names, in the order in which it first does."""
    named = ((name, function.__globals__.get(name)) for name in _names(function.__code__))
    return [(name, cast("types.FunctionType", value)) for name, value in named if is_kernel(value)]


def _names(code: types.CodeType) -> list[str]:
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= dict.fromkeys(_names(constant))
    return list(names)


def _cpu() -> str:
    binding = importlib.import_module("llvmlite.binding")
    return f"{platform.machine()} {binding.get_host_cpu_name()}"
