"""Compiled kernels: equal to plain Python, linked to each other, kept on disk between processes."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fauxchange.domain.errors import ConfigurationError, InvariantViolation
from fauxchange.platform import compiler
from fauxchange.platform.compiler import cache_folder, compile_kernel, numba_available

MODULE = """
import math
from fauxchange.domain.kernels import kernel

SCALE = 3.0

@kernel
def decayed(x):
    return math.exp(-x) * SCALE + x / 3.0

@kernel
def summed(start, count):
    total = 0.0
    for i in range(count):
        x = start + i * 0.1
        total += decayed(x) * x + math.log(1.0 + x) * total
    return total

@kernel
def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)

@kernel
def scaled(x, by=2.0):
    return decayed(x) * by

def unmarked(x):
    return x
"""

SCRIPT = """
import json, sys
from fauxchange.platform.compiler import compile_kernel
import temporary_kernels as module
summed = compile_kernel(module.summed)
result = summed(0.5, 20)
stats = getattr(summed, "stats", None)
print(json.dumps({
    "result": result,
    "plain": module.summed(0.5, 20),
    "compiled": summed is not module.summed,
    "numba": "numba" in sys.modules,
    "hits": sum(stats.cache_hits.values()) if stats else 0,
    "misses": sum(stats.cache_misses.values()) if stats else 0,
    "folder": str(stats.cache_path) if stats else "",
}))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "temporary_kernels.py"
    path.write_text(MODULE)
    return path


@pytest.fixture(autouse=True)
def cache_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    yield tmp_path / "cache"
    compiler._compiled.clear()
    sys.modules.pop("temporary_kernels", None)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("temporary_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Numba looks a kernel's module up by its name.
    sys.modules["temporary_kernels"] = module
    spec.loader.exec_module(module)
    return module


def run_script(source: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-c", SCRIPT]
    environ = os.environ | {"PYTHONPATH": str(source.parent)} | environ
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout) | {"log": done.stderr}


def test_compiled_code_is_kept_for_the_next_process_and_gives_the_same_bits(source: Path, tmp_path: Path) -> None:
    first = run_script(source, {})
    second = run_script(source, {})

    assert (first["hits"], first["misses"]) == (0, 1)
    assert (second["hits"], second["misses"]) == (1, 0)
    assert first["result"] == second["result"] == first["plain"]
    assert Path(second["folder"]).is_relative_to(tmp_path / "cache" / "fauxchange" / "numba")


def test_a_cache_that_cannot_be_written_is_done_without(source: Path, tmp_path: Path) -> None:
    outcome = run_script(source, {"XDG_CACHE_HOME": str(source)})

    assert outcome["result"] == outcome["plain"]
    assert outcome["misses"] == 1
    assert outcome["log"].count("compiled kernels are not cached") == 1
    # Numba's own files; Python may keep its bytecode there.
    assert not [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]


def test_with_the_compiler_switched_off_a_kernel_stays_python_and_numba_is_not_imported(source: Path) -> None:
    outcome = run_script(source, {"NUMBA_DISABLE_JIT": "1"})

    assert (outcome["compiled"], outcome["numba"]) == (False, False)
    assert outcome["result"] == outcome["plain"]


def test_a_compiled_kernel_calls_compiled_kernels_and_leaves_the_plain_ones_alone(source: Path) -> None:
    module = load(source)
    plain = module.decayed

    summed = compile_kernel(module.summed)

    assert summed(0.25, 50) == module.summed(0.25, 50)
    assert compile_kernel(module.decayed).signatures
    assert module.decayed is plain


def test_a_kernel_may_call_itself(source: Path) -> None:
    factorial = compile_kernel(load(source).factorial)

    assert factorial(10) == math.factorial(10)


def test_a_kernel_may_have_defaults(source: Path) -> None:
    module = load(source)
    scaled = compile_kernel(module.scaled)

    assert (scaled(1.5), scaled(1.5, 3.0)) == (module.scaled(1.5), module.scaled(1.5, 3.0))


def test_a_kernel_is_compiled_once(source: Path) -> None:
    module = load(source)

    assert compile_kernel(module.summed) is compile_kernel(module.summed)


def test_a_function_that_is_not_marked_is_refused(source: Path) -> None:
    with pytest.raises(InvariantViolation, match="not marked"):
        compile_kernel(load(source).unmarked)


@pytest.mark.parametrize(
    ("old", "new"),
    [("x / 3.0", "x / 4.0"), ("SCALE = 3.0", "SCALE = 4.0")],
)
def test_an_edit_of_anything_the_code_is_made_from_changes_the_cache_folder(
    source: Path, tmp_path: Path, old: str, new: str
) -> None:
    edited = tmp_path / "edited.py"
    edited.write_text(MODULE.replace(old, new))

    assert cache_folder(load(edited).summed) != cache_folder(load(source).summed)


def test_a_constant_imported_from_elsewhere_is_part_of_the_folder_name(source: Path) -> None:
    module = load(source)
    before = cache_folder(module.summed)

    module.SCALE = 5.0

    assert cache_folder(module.summed) != before


def test_the_same_sources_give_the_same_folder(source: Path) -> None:
    assert cache_folder(load(source).summed) == cache_folder(load(source).summed)


def test_compilations_are_logged_with_their_duration(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    compile_kernel(load(source).summed)(1.0, 2)

    messages = [str(record.msg) for record in caplog.records if "kernel" in str(record.msg)]
    assert len(messages) == 2
    assert "compiling kernel" in messages[0]
    assert "'seconds'" in messages[1]


def test_without_numba_the_error_says_what_to_do(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxchange.platform.compiler.importlib.util.find_spec", lambda _name: None)

    with pytest.raises(ConfigurationError, match="MODEL_ENGINE=python"):
        compile_kernel(load_before(source).summed)

    assert not numba_available()


def load_before(path: Path) -> ModuleType:
    """Load a module by hand, for when the import machinery's own look-up is replaced."""
    module = ModuleType("temporary_kernels")
    exec(compile(path.read_text(), path, "exec"), module.__dict__)
    return module
