"""The dependency rules: the contracts of pyproject.toml hold, and are as strict as they can be."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

OPEN_DATA_MODULES = {"ports", "queries", "tables", "documents"}
"""Modules of `fauxchange.data` that are no backend: promises and their vocabulary."""


@pytest.fixture(scope="module")
def contracts(repository: Path) -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    return {contract["name"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


def test_import_contracts_hold(repository: Path) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]

    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_no_contract_passes_over_an_import(contracts: dict[str, dict[str, Any]]) -> None:
    assert {name for name, contract in contracts.items() if contract.get("ignore_imports")} == set()


def test_a_layer_that_exists_is_not_optional(repository: Path, contracts: dict[str, dict[str, Any]]) -> None:
    layers = [name.strip() for row in contracts["system layers"]["layers"] for name in row.split("|")]
    package = repository / "src/fauxchange"

    optional = {name.strip("()") for name in layers if name.startswith("(")}

    assert {name for name in optional if (package / name).exists() or (package / f"{name}.py").exists()} == set()


def test_use_cases_are_kept_from_every_backend_there_is(repository: Path, contracts: dict[str, dict[str, Any]]) -> None:
    package = repository / "src/fauxchange"
    backends = {
        f"fauxchange.data.{path.stem}"
        for path in (package / "data").iterdir()
        if path.stem not in {"__init__", "__pycache__", *OPEN_DATA_MODULES}
    }
    if (package / "chaos").exists():
        backends.add("fauxchange.chaos")

    assert set(contracts["use cases name ports, not adapters"]["forbidden_modules"]) == backends
