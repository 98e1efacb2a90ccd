"""The file of the kernel's snapshots: failing disks, damage, and what it costs others."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fauxchange.data.ports import KernelSnapshot
from fauxchange.data.sqlite.kernel_snapshots import PART_BYTES, SnapshotFile, SqliteKernelSnapshots
from fauxchange.domain.errors import ConfigurationError, Unavailable


def snapshot(sequence: int) -> KernelSnapshot:
    return KernelSnapshot(sequence, sequence, f"hash of {sequence}", bytes([sequence]) * (2 * PART_BYTES + 5))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(sql).rowcount > 0


async def saved(path: Path, *sequences: int) -> None:
    file = await SnapshotFile.open(path)
    for sequence in sequences:
        await SqliteKernelSnapshots(lambda: file).save(snapshot(sequence))
    await file.close()


async def newest(path: Path) -> KernelSnapshot | None:
    file = await SnapshotFile.open(path)
    found = await SqliteKernelSnapshots(lambda: file).newest()
    await file.close()
    return found


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done and not told"])
async def test_write_error_at_any_call_keeps_the_old_snapshots_or_has_the_new_one(
    tmp_path: Path, faulty: Any, *, after: bool
) -> None:
    file = await SnapshotFile.open(tmp_path / "it-snapshots.sqlite", opener=faulty.open)
    snapshots = SqliteKernelSnapshots(lambda: file)
    for sequence in (1, 2, 3):
        await snapshots.save(snapshot(sequence))
    kept: list[list[int]] = []

    while True:
        faulty.fail(len(kept) + 1, after=after)
        try:
            await snapshots.save(snapshot(4))
        except Unavailable:
            assert faulty.mend()
        else:
            break
        kept.append([sequence for sequence, _ in await snapshots.all()])
        assert await snapshots.newest() == snapshot(kept[-1][-1])

    assert [1, 2, 3] in kept
    assert all(sequences in ([1, 2, 3], [2, 3, 4]) for sequences in kept)
    await file.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE snapshot_parts SET payload = x'00' || substr(payload, 2) WHERE sequence = 2 AND part = 1",
        "DELETE FROM snapshot_parts WHERE sequence = 2 AND part = 2",
        "UPDATE snapshots SET checksum = checksum + 1 WHERE sequence = 2",
        "UPDATE snapshots SET size = size + 1 WHERE sequence = 2",
    ],
)
async def test_damaged_snapshot_is_passed_over(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "it-snapshots.sqlite"
    await saved(path, 1, 2)

    change(path, sql)

    assert await newest(path) == snapshot(1)


async def test_snapshot_on_malformed_pages_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "it-snapshots.sqlite"
    await saved(path, 1, 2)
    content = path.read_bytes()
    second = content.index(bytes([2]) * 3_000)
    page = second - second % 4_096

    # The first four bytes of an overflow page say where the next one is.
    path.write_bytes(content[:page] + b"\xff" * 4 + content[page + 4 :])

    assert await newest(path) == snapshot(1)


async def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it-snapshots.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")

    with pytest.raises(ConfigurationError, match="it-snapshots"):
        await SnapshotFile.open(path)


async def test_large_snapshot_is_written_once_and_its_room_used_again(tmp_path: Path) -> None:
    path = tmp_path / "it-snapshots.sqlite"

    for sequence in range(1, 12):
        await saved(path, sequence)

    assert path.stat().st_size < 6 * len(snapshot(1).payload)
    assert names(tmp_path) == [path.name]


async def test_closed_file_is_unavailable(tmp_path: Path) -> None:
    file = await SnapshotFile.open(tmp_path / "it-snapshots.sqlite")
    await file.close()

    with pytest.raises(Unavailable, match="closed"):
        await SqliteKernelSnapshots(lambda: file).newest()
