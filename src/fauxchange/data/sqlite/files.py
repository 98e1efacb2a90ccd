"""SQLite files: how they are opened, made and refused, whatever is in them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError, Unavailable

Open = Callable[[Path], sqlite3.Connection]

BUSY_TIMEOUT_MS = 5_000

_BROKEN = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


def open_connection(path: Path) -> sqlite3.Connection:
    """Open the file, which must exist, for use by one thread at a time; transactions are begun by hand."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


@contextmanager
def preparing(path: Path, *, opener: Open = open_connection) -> Iterator[sqlite3.Connection]:
    """Open a file, made if there is none, for the block that creates or checks what is in it.

    Raises: ConfigurationError if it cannot be used as it is; Unavailable if another process keeps it locked
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
        with closing(opener(path)) as connection:
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            yield connection
    except OSError as exc:
        raise folder_refused(path, exc) from exc
    except sqlite3.DatabaseError as exc:
        if error_code(exc) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise Unavailable(f"the database {path} is locked by another process") from exc
        raise _refused(path, exc, broken=error_code(exc) in _BROKEN) from exc
    # SQLite's message quotes the damaged bytes, which are no text.
    except UnicodeDecodeError as exc:
        raise _refused(path, exc, broken=True) from exc


def use_log(path: Path, connection: sqlite3.Connection) -> None:
    """Put the file into WAL mode. Raises: ConfigurationError on a file system that cannot have it."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigurationError(f"the file system of {path} has no shared memory; put the data folder on a local disk")


def error_code(exc: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for what the Python module itself complains of."""
    extended: int | None = getattr(exc, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def folder_refused(path: Path, exc: OSError) -> ConfigurationError:
    """Return the failure that a file's folder amounts to which cannot be used."""
    return ConfigurationError(
        f"the data folder {path.parent} cannot be used: {exc.strerror}; choose another folder or its permissions"
    )


def _refused(path: Path, exc: Exception, *, broken: bool) -> ConfigurationError:
    reason = "is damaged or no SQLite database" if broken else "cannot be opened"
    return ConfigurationError(
        f"{path} {reason} ({exc}); move it away to start with an empty one, restore it from a copy, "
        "or choose another data folder"
    )
