"""Compiled kernels: equal to plain Python, linked to each other, kept on disk between processes."""

import ctypes
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fauxchange.domain.errors import ConfigurationError, InvariantViolation
from fauxchange.platform import compiler
from fauxchange.platform.compiler import NEEDED_FEATURES, cache_folder, compile_kernel, numba_available

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


def run_script(source: Path, environ: Mapping[str, str], *, obeying: bool = False) -> dict[str, Any]:
    """Run a process that compiles; one that is `obeying` is bound by the rights of files even as root."""
    command = [sys.executable, "-c", SCRIPT]
    environ = os.environ | {"PYTHONPATH": str(source.parent)} | environ
    done = subprocess.run(
        command,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=obey_rights if obeying else None,
    )
    return json.loads(done.stdout) | {"log": done.stderr}


def obey_rights() -> None:
    """Give up root's privilege to write where nobody may; who is not root has none."""
    drop_from_bounding_set, override_rights = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, override_rights, 0, 0, 0)


def test_compiled_code_is_kept_for_the_next_process_and_gives_the_same_bits(source: Path, tmp_path: Path) -> None:
    first = run_script(source, {})
    second = run_script(source, {})

    assert (first["hits"], first["misses"]) == (0, 1)
    assert (second["hits"], second["misses"]) == (1, 0)
    assert first["result"] == second["result"] == first["plain"]
    assert Path(second["folder"]).is_relative_to(tmp_path / "cache" / "fauxchange" / "numba")


HINTING = """
import numpy as np
from fauxchange.domain.kernels import lean_kernel, prefetch

@lean_kernel
def last(array, far):
    prefetch(array, far)
    prefetch(array, -far)
    return array[len(array) - 1]
"""


def test_a_hint_becomes_an_instruction_that_reads_nothing(source: Path) -> None:
    source.write_text(HINTING)
    plain = load(source).last
    compiled = compile_kernel(plain)
    numbers = np.arange(3)

    outcomes = plain(numbers, 2**40), compiled(numbers, 2**40)

    assert outcomes == (2, 2)
    assert "llvm.prefetch" in next(iter(compiled.inspect_llvm().values()))


def test_a_cache_that_cannot_be_written_is_done_without(source: Path, tmp_path: Path) -> None:
    outcome = run_script(source, {"XDG_CACHE_HOME": str(source)})

    assert outcome["result"] == outcome["plain"]
    assert outcome["misses"] == 1
    assert outcome["log"].count("compiled kernels are not cached") == 1
    # Numba's own files; Python may keep its bytecode there.
    assert not [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]


def test_a_cache_that_can_only_be_read_is_used_as_it_is_wherever_it_lies(source: Path, tmp_path: Path) -> None:
    first = run_script(source, {"XDG_CACHE_HOME": str(tmp_path / "made")})
    (tmp_path / "made").rename(tmp_path / "moved")
    protect(tmp_path / "moved")

    outcome = run_script(source, {"XDG_CACHE_HOME": str(tmp_path / "moved")}, obeying=True)

    assert (outcome["hits"], outcome["misses"]) == (1, 0)
    assert outcome["result"] == first["result"]
    assert "not cached" not in outcome["log"]


def test_what_a_cache_that_can_only_be_read_lacks_is_compiled_and_not_kept(source: Path, tmp_path: Path) -> None:
    run_script(source, {})
    for made in (tmp_path / "cache").rglob("*.nb[ic]"):
        made.unlink()
    protect(tmp_path / "cache")

    outcome = run_script(source, {}, obeying=True)

    assert (outcome["hits"], outcome["misses"]) == (0, 1)
    assert outcome["result"] == outcome["plain"]
    assert not [*(tmp_path / "cache").rglob("*.nb[ic]")]


def protect(folder: Path) -> None:
    """Take the right to write from a folder and all that is in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")
def test_code_is_made_for_the_level_of_cpu_that_is_named_and_found_by_that_name(source: Path) -> None:
    own = run_script(source, {})
    named = run_script(source, {"NUMBA_CPU_NAME": "x86-64-v2"})
    again = run_script(source, {"NUMBA_CPU_NAME": "x86-64-v2"})

    assert (named["hits"], named["misses"]) == (0, 1)
    assert (again["hits"], again["misses"]) == (1, 0)
    assert named["folder"] != own["folder"]
    assert named["result"] == own["result"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")
def test_a_level_that_this_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(CPU_NAME="x86-64-v3", CPU_FEATURES=None)
    monkeypatch.setattr(compiler, "_host_features", lambda: NEEDED_FEATURES["x86-64-v3"] - {"avx2", "bmi2"})

    with pytest.raises(ConfigurationError, match=r"no avx2, bmi2, which NUMBA_CPU_NAME=x86-64-v3 needs") as refused:
        compiler._choose_cpu(config)

    assert refused.value.field == "NUMBA_CPU_NAME"


@pytest.mark.parametrize(
    ("name", "given", "features"),
    [
        ("x86-64-v3", None, "-fma"),
        ("x86-64-v3", "+avx,+fma", "+avx,-fma"),
        ("generic", "", ""),
        ("znver3", "+fma", "-fma"),
    ],
)
def test_multiplication_and_addition_are_never_fused(
    name: str, given: str | None, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(CPU_NAME=name, CPU_FEATURES=given)
    monkeypatch.setattr(compiler, "_host_features", lambda: NEEDED_FEATURES["x86-64-v4"] | NEEDED_FEATURES["x86-64-v3"])

    compiler._choose_cpu(config)

    chosen = config.CPU_FEATURES
    assert chosen == features


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
