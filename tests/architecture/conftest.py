"""What the architecture tests look at: the repository's files, and the package as syntax trees."""

import ast
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """One module of the package; `path` is relative to `src/fauxchange`, with forward slashes."""

    path: str
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @cached_property
    def imported(self) -> dict[str, str]:
        """What each imported name stands for: `np` for `numpy`, `sleep` for `time.sleep`."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    def full_name(self, node: ast.AST) -> str | None:
        """Return what a name or a dotted name stands for, or None if it was not imported."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.full_name(node.value)
            return None if owner is None else f"{owner}.{node.attr}"
        return None


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Return every module of the package that people write; generated code is left out."""
    package = REPOSITORY / "src/fauxchange"
    return [
        Source(path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
        if not path.stem.endswith(("_pb2", "_pb2_grpc"))
    ]


@pytest.fixture(scope="session")
def repository_files() -> list[str]:
    """Return the files that are tracked, or would be by `git add --all`."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no clone of the repository, so nothing is tracked")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (REPOSITORY / name).exists())
