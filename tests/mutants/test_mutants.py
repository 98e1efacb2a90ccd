"""Bugs planted in the kernel are found; `make test-mutants` plants all of them, other runs every third."""

import os
from pathlib import Path

import pytest
from mutants.bugs import BUGS
from mutants.planted import NO_BUG, Bug, caught, plant

ALL = os.environ.get("FAUXCHANGE_TEST_MUTANTS") == "all"


def test_there_are_thirty_different_bugs() -> None:
    assert len({bug.name for bug in BUGS}) == len({(bug.file, bug.old, bug.new) for bug in BUGS}) == 30


def test_a_copy_without_a_bug_is_not_caught(tmp_path: Path) -> None:
    reason = caught(NO_BUG, tmp_path, scripts=4)

    assert reason is None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_still_fits_the_source(bug: Bug, tmp_path: Path) -> None:
    planted = tmp_path / plant(bug, tmp_path) / bug.file

    compile(planted.read_text(encoding="utf-8"), str(planted), "exec")


@pytest.mark.parametrize("bug", BUGS if ALL else BUGS[::3], ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    reason = caught(bug, tmp_path)

    assert reason is not None, f"{bug.name} went unnoticed: {bug.file}: {bug.old!r} -> {bug.new!r}"
