"""What is in the repository, and what must never be: secrets, build output, traces of one machine."""

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

KEPT_APART = [
    ".env",
    ".env.local",
    ".env.production",
    "ready.json",
    ".fauxchange/ready.json",
    ".fauxchange/fauxchange.sqlite",
    "data/audit.key",
    "fauxchange.sqlite",
    "fauxchange.sqlite-wal",
    "build/lib/module.py",
    "dist/fauxchange-0.1.0.tar.gz",
    "src/fauxchange.egg-info/PKG-INFO",
    "src/fauxchange/__pycache__/module.pyc",
    ".venv/bin/python",
    ".coverage",
    "htmlcov/index.html",
    ".hypothesis/examples/x",
    ".pytest_cache/x",
    ".mypy_cache/x",
    ".ruff_cache/x",
]
"""Samples of what is made on one machine and stays there."""

MACHINE = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:home|Users|root|work)/[\w.-]+",
            r"--(?:extra-)?index-url\b|--trusted-host\b|--find-links\b|\bPIP_(?:EXTRA_)?INDEX_URL\b",
            r"https?://[\w.-]+(?::\d+)?/(?:simple|artifactory|nexus|devpi)\b",
        )
    )
)
TEXT = {".md", ".py", ".pyi", ".toml", ".txt", ".yaml", ".yml", ".json", ".proto", ".cfg", ".ini", ".sh", ".svg", ""}


def git_ignores(repository: Path, name: str) -> bool:
    # --no-index asks the rules alone, whatever is tracked; an empty excludesFile keeps a user's own rules out.
    command = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--quiet", name]
    return subprocess.run(command, cwd=repository, check=False).returncode == 0


def docker_ignores(rules: str, name: str) -> bool:
    """Judge as Docker does: patterns begin at the top folder, hold for all that is inside, and the last one wins.

    Source: Dockerfile reference, section on the .dockerignore file
    """
    path = PurePosixPath(name)
    ignored = False
    for line in rules.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = not pattern.startswith("!")
        parts = re.split(r"(\*\*/|\*|\?)", pattern.removeprefix("!").strip("/"))
        meaning = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
        regex = re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))
        if any(regex.fullmatch(candidate.as_posix()) for candidate in (path, *path.parents)):
            ignored = wanted
    return ignored


@pytest.mark.parametrize("name", KEPT_APART)
def test_git_ignores_what_belongs_to_one_machine(name: str, repository: Path, repository_files: list[str]) -> None:
    assert git_ignores(repository, name)


@pytest.mark.parametrize("name", KEPT_APART)
def test_images_are_built_without_what_belongs_to_one_machine(name: str, repository: Path) -> None:
    assert docker_ignores((repository / ".dockerignore").read_text(), name)


@pytest.mark.parametrize("name", [".env.example", "src/fauxchange/__init__.py", "pyproject.toml"])
def test_what_is_needed_is_ignored_by_neither(name: str, repository: Path, repository_files: list[str]) -> None:
    assert not git_ignores(repository, name)
    assert not docker_ignores((repository / ".dockerignore").read_text(), name)


def test_nothing_that_belongs_to_one_machine_is_tracked(repository: Path, repository_files: list[str]) -> None:
    assert [name for name in repository_files if git_ignores(repository, name)] == []


def test_no_file_looks_like_a_key_or_a_database(repository: Path, repository_files: list[str]) -> None:
    suspicious = {".key", ".pem", ".p12", ".sqlite", ".db", ".pyc", ".whl", ".gz"}

    assert [name for name in repository_files if PurePosixPath(name).suffix in suspicious] == []


def test_no_file_tells_of_the_machine_it_was_written_on(repository: Path, repository_files: list[str]) -> None:
    found = [
        f"{name}:{number}: {match[0]}"
        for name in repository_files
        if PurePosixPath(name).suffix in TEXT and name != "tests/architecture/test_repository.py"
        for number, line in enumerate((repository / name).read_text(errors="replace").splitlines(), 1)
        if (match := MACHINE.search(line)) is not None
    ]

    assert found == []


def test_every_guide_is_read_by_assistants_too(repository: Path, repository_files: list[str]) -> None:
    guides = [repository / name for name in repository_files if PurePosixPath(name).name == "AGENTS.md"]

    assert repository / "AGENTS.md" in guides
    assert repository / "src/fauxchange/services/market_data/AGENTS.md" in guides
    assert {guide.with_name("CLAUDE.md").read_text() for guide in guides} == {"@AGENTS.md\n"}
