"""Tables of history as files, in the columns of recorded ones: CSV in gzip, or Parquet.

A file is written under another name, and takes its own only when it is whole. The same rows give the same bytes.
"""

import contextlib
import gzip
import hashlib
import importlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from fauxchange.domain.errors import ConfigurationError, Unavailable, check

AnyArray = NDArray[Any]

UNFINISHED = ".part"
_GZIP_LEVEL = 6
_GROUP_ROWS = 1 << 16


class FileFormat(StrEnum):
    """How a table is written."""

    CSV_GZ = "csv.gz"
    PARQUET = "parquet"


class Kind(StrEnum):
    """What a column holds."""

    TIME = "time"
    """Nanoseconds since 1970, written as a time."""
    WHOLE = "whole"
    DECIMAL = "decimal"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Units: decimals behind the point, of decimals only."""

    name: str
    kind: Kind
    decimals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A whole file that has not been given its name yet. Units: first and last in nanoseconds, size in bytes."""

    symbol: str
    path: Path
    part: Path
    rows: int
    first_ns: int
    last_ns: int
    size: int
    sha256: str


def unfinished(path: Path) -> Path:
    """Return the name that a file has until it is whole."""
    return path.with_name(f".{path.name}{UNFINISHED}")


class _Writer(Protocol):
    def write(self, columns: Sequence[AnyArray]) -> None: ...

    def close(self) -> None: ...


class HistoryFile(AbstractContextManager["HistoryFile"]):
    """A file that is being written, block by block; whoever leaves it with an exception leaves nothing behind.

    Raises: Unavailable if it cannot be written; ConfigurationError if what writes Parquet is not installed
    """

    def __init__(self, symbol: str, path: Path, columns: Sequence[Column], format_: FileFormat) -> None:
        self._symbol = symbol
        self._path = path
        self._part = unfinished(path)
        self._rows = 0
        self._first_ns = self._last_ns = 0
        make = _CsvWriter if format_ is FileFormat.CSV_GZ else _ParquetWriter
        with _refused(path):
            self._file: IO[bytes] = self._part.open("wb")
        try:
            self._writer: _Writer = make(self._file, columns)
        except BaseException:
            self._abandon()
            raise

    def write(self, columns: Sequence[AnyArray]) -> None:
        """Write some rows, if there are any; the first column is their times, in nanoseconds."""
        if not columns or not len(columns[0]):
            return
        times_ns = columns[0]
        if not self._rows:
            self._first_ns = int(times_ns[0])
        self._last_ns = int(times_ns[-1])
        self._rows += len(times_ns)
        with _refused(self._path):
            self._writer.write(columns)

    def finish(self) -> Written:
        """Write what is left, and return what the file holds."""
        with _refused(self._path):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            with self._part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = self._part.stat().st_size
        return Written(
            symbol=self._symbol,
            path=self._path,
            part=self._part,
            rows=self._rows,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            size=size,
            sha256=digest,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


class _CsvWriter:
    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        # Neither name nor time in the header, so that the same rows give the same bytes.
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_GZIP_LEVEL, mtime=0)
        self._columns = columns
        self._line = ",".join(_cell(column) for column in columns) + "\n"
        self._gzip.write((",".join(column.name for column in columns) + "\n").encode())

    def write(self, columns: Sequence[AnyArray]) -> None:
        cells = (
            np.datetime_as_string(values.astype("datetime64[ns]").astype("datetime64[s]"))
            if column.kind is Kind.TIME
            else values
            for column, values in zip(self._columns, columns, strict=True)
        )
        rows = zip(*(values.tolist() for values in cells), strict=True)
        self._gzip.write("".join(map(self._line.__mod__, rows)).encode())

    def close(self) -> None:
        self._gzip.close()


class _ParquetWriter:
    """Numbers are written as floats: the nearest to a decimal is told from it by its shortest text."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._arrow, parquet = _import_pyarrow()
        types = {
            Kind.TIME: self._arrow.timestamp("ns", tz="UTC"),
            Kind.WHOLE: self._arrow.int64(),
            Kind.DECIMAL: self._arrow.float64(),
            Kind.TEXT: self._arrow.string(),
        }
        self._schema = self._arrow.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._waiting: list[Any] = []

    def write(self, columns: Sequence[AnyArray]) -> None:
        types = self._schema.types
        arrays = [self._arrow.array(values, type=each) for values, each in zip(columns, types, strict=True)]
        self._waiting.append(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        if sum(table.num_rows for table in self._waiting) >= _GROUP_ROWS:
            self._write_groups(whole=True)

    def close(self) -> None:
        self._write_groups(whole=False)
        self._writer.close()

    def _write_groups(self, *, whole: bool) -> None:
        """Write groups of always the same size, however the rows came, and keep what is left if it is not the last."""
        if not self._waiting:
            return
        rows = self._arrow.concat_tables(self._waiting).combine_chunks()
        end = rows.num_rows - (rows.num_rows % _GROUP_ROWS if whole else 0)
        if end:
            self._writer.write_table(rows.slice(0, end), row_group_size=_GROUP_ROWS)
        self._waiting = [rows.slice(end)]


class _refused(AbstractContextManager[None]):  # noqa: N801 - reads as a clause in `with`
    """Turn the errors of a full or forbidden disk into a refusal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            cannot_write(self._path, error)


def cannot_write(path: Path, error: OSError) -> NoReturn:
    """Raise the failure that says what could not be written, and why."""
    raise Unavailable(
        f"{path} cannot be written ({error.strerror or error}); nothing of it was left behind",
        code="history_not_written",
        retryable=False,
        details={"file": str(path)},
    ) from error


def _cell(column: Column) -> str:
    if column.kind is Kind.DECIMAL:
        return f"%.{column.decimals}f"
    check(column.kind in {Kind.TIME, Kind.WHOLE, Kind.TEXT}, "a kind of column that can be written")
    return {Kind.TIME: "%sZ", Kind.WHOLE: "%d", Kind.TEXT: "%s"}[column.kind]


def _import_pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as exc:
        raise ConfigurationError(
            "writing Parquet needs the extra: pip install 'fauxchange[parquet]'; or write csv.gz", field="format"
        ) from exc
