"""Keys that a process makes for itself at first start and keeps in a file that only its user can read."""

import os
import secrets
import stat
import tempfile
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError

_KEY_BYTES = 32


def load_or_create_key(path: Path) -> str:
    """Return the key kept in `path`, made at random (256 bits) if there is none yet.

    Of two processes that make it at once, both return the key of the one that was first.

    Raises: ConfigurationError if the file is empty, can be read by others, or cannot be read or written
    """
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as exc:
        raise ConfigurationError(f"key file {path} cannot be used: {exc.strerror}") from exc


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write `text` to `path` at once, readable by its user alone; without `replace` an existing file stays.

    Raises: OSError if the folder is not there or not writable
    """
    # Made with mode 0600 from the first byte on, and seen under its name only when it is whole.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(name).replace(path)
        else:
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        write_private(path, secrets.token_urlsafe(_KEY_BYTES) + "\n", replace=False)
    except FileExistsError:
        # Another process was first; its key is as good.
        return


def _load(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(f"key file {path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    key = path.read_text(encoding="utf-8").strip()
    if not key:
        raise ConfigurationError(f"key file {path} is empty; delete it to have a new key made")
    return key
