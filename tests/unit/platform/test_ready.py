"""`ready.json`: written whole, private, and believed only while its process lives."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fauxchange.domain.errors import ConfigurationError, NotFound
from fauxchange.platform.ready import Ready, read_ready, remove_ready, write_ready

READY = Ready(
    http="http://127.0.0.1:8080",
    grpc="127.0.0.1:9080",
    audit="http://127.0.0.1:8180",
    secrets={"audit_key": "hunter2", "demo": {"account_id": "demo"}},
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_ready(tmp_path / "data", READY)

    assert read_ready(tmp_path / "data") == READY


def test_the_file_has_the_documented_members_and_is_private(tmp_path: Path) -> None:
    path = write_ready(tmp_path, READY)

    document = json.loads(path.read_text())

    assert path.name == "ready.json"
    assert set(document) == {"http", "grpc", "audit", "pid", "audit_key", "demo"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_not_in_the_printed_form() -> None:
    assert "hunter2" not in repr(READY)


def test_a_folder_without_the_file_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="fauxchange up") as missing:
        read_ready(tmp_path)

    assert missing.value.code == "not_running"


def test_a_file_left_behind_by_a_process_that_has_ended_is_not_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_ready(tmp_path, Ready(http="h", grpc="g", audit=None, pid=ended.pid))

    with pytest.raises(NotFound, match="has ended"):
        read_ready(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"http": 1'])
def test_a_file_that_is_not_ours_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "ready.json").write_text(text)

    with pytest.raises(NotFound, match="was not written by this version"):
        read_ready(tmp_path)


def test_a_process_removes_its_own_file_and_no_other(tmp_path: Path) -> None:
    write_ready(tmp_path / "own", READY)
    write_ready(tmp_path / "other", Ready(http="h", grpc="g", audit=None, pid=1))

    for name in ("own", "other", "missing"):
        remove_ready(tmp_path / name)

    assert not (tmp_path / "own" / "ready.json").exists()
    assert (tmp_path / "other" / "ready.json").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_ready(tmp_path / "file", READY)
