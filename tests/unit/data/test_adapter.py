"""Opening the adapter that the settings ask for."""

from pathlib import Path

from fauxchange.data.adapter import open_data_adapter


async def test_without_a_path_everything_is_in_memory() -> None:
    adapter = await open_data_adapter(None)

    assert set(adapter.health()) == {"memory", "journal", "cache", "registry"}


async def test_with_a_path_the_file_is_open(tmp_path: Path) -> None:
    adapter = await open_data_adapter(tmp_path / "it.db")

    assert set(adapter.health()) == {"sqlite", "journal", "cache", "registry"}
    assert (tmp_path / "it.db").exists()
    await adapter.disconnect()
