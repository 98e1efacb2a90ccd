"""Compile kernel functions with Numba, with the same results as plain Python to the last bit.

Numba is imported here and nowhere else, and only when the first kernel is compiled. A compiled kernel is a clone of
the marked function in which the kernels it names are replaced by their compiled forms; the original stays as it is.

What keeps the two forms equal: no fast-math, no vector mathematics library, no fused multiply-add. What a kernel must
do for its part: call kernels by their bare name, use scalar functions of `math` (NumPy's own loops may round
differently), write `x * x` rather than `x**2`, and keep integers within 64 bits.

Compiled code is kept on disk. Numba notices an edit in the function's own file only, so the folder is named by all
that the code is made from: the sources of the modules of every kernel reached, the constants they name, the versions
of Numba and Python, and the CPU. A folder that can only be read is used as it is: that is how an image brings the
machine code along. It is made for the level of CPU that `NUMBA_CPU_NAME` names, since the machine that builds an image
is another one than those that run it.
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
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from fauxchange.domain.errors import ConfigurationError, check
from fauxchange.domain.kernels import is_kernel, is_lean, prefetch
from fauxchange.platform.logging import get_logger

Function = TypeVar("Function", bound=Callable[..., Any])

LEAN_OPTIONS = {"_nrt": False, "forceinline": True}
"""Without Numba's runtime there is nothing that could count references, nor allocate. Calls between lean kernels are
inlined whatever LLVM makes of their size: they cost more than the memory that the copies take."""

NEEDED_FEATURES = {
    "x86-64": frozenset[str](),
    "x86-64-v2": frozenset({"sse4.2", "popcnt"}),
    "x86-64-v3": frozenset({"sse4.2", "popcnt", "avx2", "bmi2", "lzcnt", "movbe", "f16c"}),
    "x86-64-v4": frozenset({"avx2", "bmi2", "lzcnt", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What a CPU must have to run what is compiled for a level.

Source: System V ABI for x86-64, micro-architecture levels; without fused multiply-add, which kernels never use
"""

_log = get_logger(__name__)


class _Cache(NamedTuple):
    """A folder that holds compiled code, or will."""

    folder: Path
    writable: bool


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
    hint = inspect.getsource(_prefetch)
    facts = (numba.__version__, np.__version__, platform.python_version(), _cpu(), str(LEAN_OPTIONS), hint)
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
    _choose_cpu(numba.config)
    _report_compilations()
    return numba


def _choose_cpu(config: Any) -> None:
    """Settle what machine code is made for: the level of CPU that is named, else this machine's; no fused multiply-add.

    Raises: ConfigurationError if this machine cannot run what would be compiled
    """
    name = config.CPU_NAME
    lacking = sorted(NEEDED_FEATURES.get(name, frozenset()) - _host_features())
    if lacking:
        raise ConfigurationError(
            f"this CPU has no {', '.join(lacking)}, which NUMBA_CPU_NAME={name} needs; name a lower level, such as "
            "x86-64-v2, or unset it to compile for this machine",
            field="NUMBA_CPU_NAME",
        )
    if config.CPU_FEATURES is None and name is None:
        codegen = importlib.import_module("numba.core.codegen")
        config.CPU_FEATURES = codegen.get_host_cpu_features()
    given = (config.CPU_FEATURES or "").replace("+fma", "-fma")
    # A named level brings the feature along. Other machines than x86-64 do not know it by this name.
    if "-fma" not in given.split(",") and name in NEEDED_FEATURES:
        given = ",".join(filter(None, (given, "-fma")))
    config.CPU_FEATURES = given


def _host_features() -> frozenset[str]:
    binding = importlib.import_module("llvmlite.binding")
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


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
    for name in _names(function.__code__):
        if namespace.get(name) is prefetch:
            namespace[name] = _prefetch()
    return compiled


@functools.cache
def _prefetch() -> Any:
    """Return the compiled form of `prefetch`: the processor's own instruction."""
    ir = importlib.import_module("llvmlite.ir")
    core = importlib.import_module("numba.core")
    extending = importlib.import_module("numba.extending")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), core.cgutils.voidptr_t)
        word = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = core.cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
        # To be read, into the nearest cache, data.
        builder.call(function, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    def typed(_context: Any, array: Any, _at: Any) -> Any:
        return core.types.void(array, core.types.int64), generate

    return extending.intrinsic(typed)


def _decorated(clone: types.FunctionType, cache: _Cache | None, *, lean: bool) -> Any:
    numba = _numba()
    options = LEAN_OPTIONS if lean else {}
    if cache is None:
        return numba.njit(**options)(clone)
    earlier = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache.folder)
    try:
        if cache.writable:
            return numba.njit(cache=True, **options)(clone)
        compiled = numba.njit(**options)(clone)
        compiled._cache = _read_only_cache()(clone)  # noqa: SLF001 - as `enable_caching` does, with another class
        return compiled
    finally:
        numba.config.CACHE_DIR = earlier


@functools.cache
def _read_only_cache() -> Any:
    """Return Numba's cache as a class that never writes: its own refuses folders that it cannot write to."""
    from numba.core import caching  # noqa: PLC0415 - as heavy as Numba itself

    class Locator(caching.UserProvidedCacheLocator):
        """The folder that was named, as it is."""

        def ensure_cache_path(self) -> None:
            """Do nothing: a folder that is missing has nothing to read."""

    class Implementation(caching.CompileResultCacheImpl):
        _locator_classes = [Locator]  # noqa: RUF012 - Numba declares it so

    class ReadOnlyCache(caching.FunctionCache):
        """What was compiled before; what is compiled now stays in memory."""

        _impl_class = Implementation

        def save_overload(self, sig: object, data: object) -> None:
            """Keep nothing."""

    return ReadOnlyCache


def _usable_cache(function: types.FunctionType) -> _Cache | None:
    """Return the cache folder, made or found, or None: without this check Numba would write beside the source."""
    folder = cache_folder(function)
    if folder is None:
        _warn_uncached("there is no home folder")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return _Cache(folder, writable=True)
    except OSError as exc:
        if _is_filled(folder):
            return _Cache(folder, writable=False)
        _warn_uncached(f"{folder.parent}: {exc.strerror}")
        return None


def _is_filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


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
    named = _numba().config.CPU_NAME
    binding = importlib.import_module("llvmlite.binding")
    return f"{platform.machine()} {named or binding.get_host_cpu_name()}"
