"""Keys in files: made once, whole, and for their user only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.keys import load_or_create_key, write_private


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "audit.key"

    first, second = load_or_create_key(path), load_or_create_key(path)

    assert first == second
    assert len(first) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["audit.key"]


def test_two_keys_differ(tmp_path: Path) -> None:
    assert load_or_create_key(tmp_path / "a.key") != load_or_create_key(tmp_path / "b.key")


def test_all_who_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_key, [tmp_path / "audit.key"] * 32))

    assert len(keys) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "audit.key"
    load_or_create_key(path)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_or_create_key(path)


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    path.touch(mode=0o600)

    with pytest.raises(ConfigurationError, match="is empty"):
        load_or_create_key(path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot be used"):
        load_or_create_key(tmp_path / "file" / "audit.key")


def test_a_private_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "one", replace=False)

    with pytest.raises(FileExistsError):
        write_private(path, "two", replace=False)
    before = path.read_text()
    write_private(path, "three", replace=True)

    assert (before, path.read_text()) == ("one", "three")
    assert len(list(tmp_path.iterdir())) == 1
