"""Files as they are written: whole or not at all, and refused before the work where they cannot be."""

import os
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError


def need_target(target: Path) -> None:
    """Refuse a file that cannot be written, before the work. Raises: ConfigurationError."""
    if target.is_dir():
        raise ConfigurationError(f"{target} is a folder; name a file in it")
    if not target.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder {target.parent} to write {target.name} to")
    beside = _beside(target)
    try:
        beside.touch()
        beside.unlink()
    except OSError as exc:
        raise ConfigurationError(f"{target} cannot be written: {exc.strerror}") from exc


def write_whole(target: Path, content: bytes) -> None:
    """Write a file at once: under another name first. Raises: ConfigurationError if it cannot be written."""
    beside = _beside(target)
    try:
        beside.write_bytes(content)
        beside.replace(target)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ConfigurationError(f"{target} cannot be written: {exc.strerror}") from exc


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.part")
