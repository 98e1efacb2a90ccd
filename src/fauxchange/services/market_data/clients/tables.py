"""Open a recorded table, CSV or Parquet, plain or gzip, and hand its columns on as text in chunks of bounded size.

What a file is, its first bytes say; its name is never asked. Nothing here knows what the columns mean.
"""

import csv
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, NoReturn, Protocol, Self, cast

import numpy as np

from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.market_data.clients.cells import PADDING, TextColumn
from fauxchange.services.market_data.core.batches import Int64Array

Progress = Callable[[int, int], None]
"""Told bytes read and bytes in all, now and then, while a file is read."""

CHUNK_BYTES = 1 << 20
CHUNK_ROWS = 16_384
MAX_LINE_BYTES = 1 << 16
MAX_COLUMNS = 1_000

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows of a table: the place of each in the file, and the cells of the columns asked for."""

    places: Int64Array
    columns: Mapping[str, TextColumn]


class Table(Protocol):
    """A table whose header is known and whose rows come in chunks."""

    @property
    def header(self) -> Sequence[str]:
        """Return the names of the columns."""
        ...

    @property
    def place_name(self) -> str:
        """Return what `Chunk.places` counts: `line` of a text file, or `row`."""
        ...

    def time_units(self) -> Mapping[str, int]:
        """Return the columns whose type says that they are times, and their unit (9 for nanoseconds)."""
        ...

    def chunks(self, names: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows in order, with the named columns.

        Raises: ConfigurationError, naming file and place, where the file is damaged
        """
        ...


def refuse(path: Path, reason: str, *, place: str | None = None, column: str | None = None) -> NoReturn:
    """Raise the ConfigurationError that names the file, the place in it and what is wrong."""
    where = "".join((f", {place}" if place else "", f", column {column!r}" if column else ""))
    details = {"file": str(path)} | ({"place": place} if place else {}) | ({"column": column} if column else {})
    raise ConfigurationError(f"{path}{where}: {reason}", code="bad_recording", details=details)


class OpenTable(AbstractContextManager["OpenTable"]):
    """Open `path` for the length of a `with` block, as whatever table its content says it is.

    Raises: ConfigurationError if the file cannot be read, or is no table
    """

    table: Table

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self._path = path
        self._progress = progress
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                raw = stack.enter_context(self._path.open("rb"))
                size = self._path.stat().st_size
            except OSError as exc:
                refuse(self._path, f"cannot be read ({exc.strerror}); check the path and its permissions")
            self.table = self._detect(raw, size, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _detect(self, raw: BinaryIO, size: int, stack: ExitStack) -> Table:
        def report() -> None:
            if self._progress is not None:
                self._progress(min(raw.tell(), size), size)

        stream: BinaryIO = raw
        if _peek(raw, 2) == _GZIP:
            stream = cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=raw)))
        with _damage_refused(self._path):
            start = stream.read(8)
        stream_at_start = io.BytesIO(start)
        if start.startswith(_PARQUET):
            return ParquetTable(self._path, _seekable(self._path, raw, stream, stream_at_start, stack), report)
        for magic, name in _OTHER_FORMATS.items():
            if start.startswith(magic):
                refuse(self._path, f"this is {name}; recorded data is read from CSV or Parquet, plain or gzip")
        return CsvTable(self._path, start, stream, report)


class CsvTable:
    """Delimited UTF-8 text with a header line; the delimiter is a comma, semicolon, tab or bar."""

    place_name = "line"

    def __init__(self, path: Path, start: bytes, stream: BinaryIO, report: Callable[[], None]) -> None:
        self._path = path
        self._blocks = _blocks(path, start, stream, report)
        self._first_block, header_line = self._read_header()
        if header_line.lstrip("0123456789 ").startswith(("{", "[")):
            refuse(
                path,
                "this is a stream of JSON messages, no table; a recorded order book can be replayed (fauxchange up "
                "--replay) and compared (fauxchange similarity --book --real-book), anything else is read from CSV or "
                "Parquet with bars, trades or best bid/offer",
                place="line 1",
            )
        self._delimiter = max(_DELIMITERS, key=header_line.count)
        self.header = [name.strip() for name in next(csv.reader([header_line], delimiter=self._delimiter))]
        if len(self.header) > MAX_COLUMNS:
            refuse(path, f"has {len(self.header)} columns; at most {MAX_COLUMNS} are read", place="line 1")

    def time_units(self) -> Mapping[str, int]:
        """Return nothing: text says no types."""
        return {}

    def chunks(self, names: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows in order, with the named columns."""
        indices = {name: self.header.index(name) for name in names}
        line = 2
        block: bytes | None = self._first_block
        while block is not None:
            if block:
                yield self._split(block, line, indices)
                line += block.count(b"\n")
            block = next(self._blocks, None)

    def _read_header(self) -> tuple[bytes, str]:
        block = next(self._blocks, b"").removeprefix(b"\xef\xbb\xbf")
        line, _, rest = block.partition(b"\n")
        text = self._decode(line, 1).strip()
        if not text:
            refuse(self._path, "is empty where a header line should be", place="line 1")
        return rest, text

    def _decode(self, data: bytes, first_line: int) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            line = first_line + data.count(b"\n", 0, exc.start)
            reason = f"the byte 0x{data[exc.start]:02x} is not UTF-8 text; save the file as UTF-8"
            refuse(self._path, reason, place=f"line {line}")
        return text

    def _split(self, block: bytes, first_line: int, indices: Mapping[str, int]) -> Chunk:
        if not block.isascii():
            self._decode(block, first_line)
        buffer = np.frombuffer(block + PADDING, dtype=np.uint8)
        ends = np.flatnonzero(buffer == ord("\n")).astype(np.int64)
        starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1] + 1))
        lines = np.arange(first_line, first_line + len(ends), dtype=np.int64)
        ends -= (buffer[ends - 1] == ord("\r")) & (ends > starts)
        filled = ends > starts
        starts, ends, lines = starts[filled], ends[filled], lines[filled]
        inner = len(self.header) - 1
        separators = np.flatnonzero(buffer == ord(self._delimiter)).astype(np.int64)
        counts = np.searchsorted(separators, ends) - np.searchsorted(separators, starts)
        for row in np.flatnonzero(counts != inner)[:1].tolist():
            reason = f"has {counts[row] + 1} fields where the header names {inner + 1}"
            refuse(self._path, reason, place=f"line {lines[row]}")
        cuts = separators.reshape(len(starts), inner)
        bounded = np.column_stack((starts - 1, cuts, ends))
        columns = {
            name: _trimmed(TextColumn(buffer, bounded[:, at] + 1, bounded[:, at + 1]), block)
            for name, at in indices.items()
        }
        return Chunk(lines, columns)


class ParquetTable:
    """A Parquet file, read by pyarrow; every cell is handed on as the shortest text that means it exactly."""

    place_name = "row"

    def __init__(self, path: Path, stream: BinaryIO, report: Callable[[], None]) -> None:
        self._path = path
        self._report = report
        self._arrow, parquet = _import_pyarrow(path)
        try:
            self._file = parquet.ParquetFile(stream)
        except (self._arrow.ArrowException, OSError) as exc:
            refuse(path, f"is not a whole Parquet file ({_first_line(exc)})")
        self._schema = self._file.schema_arrow
        self.header = list(self._schema.names)

    def time_units(self) -> Mapping[str, int]:
        """Return the columns of timestamps and dates; `chunks` writes them in nanoseconds."""
        return {field.name: 9 for field in self._schema if self._is_time(field.type)}

    def chunks(self, names: Sequence[str]) -> Iterator[Chunk]:
        """Yield the rows in order, with the named columns."""
        row = 1
        batches = self._file.iter_batches(batch_size=CHUNK_ROWS, columns=list(dict.fromkeys(names)))
        while True:
            try:
                batch = next(batches, None)
            except (self._arrow.ArrowException, OSError) as exc:
                refuse(self._path, f"is damaged ({_first_line(exc)})", place=f"after row {row - 1}")
            if batch is None:
                return
            self._report()
            columns = {name: self._text_column(batch.column(name), name, row) for name in names}
            yield Chunk(np.arange(row, row + batch.num_rows, dtype=np.int64), columns)
            row += batch.num_rows

    def _is_time(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(types.is_timestamp(kind) or types.is_date(kind))

    def _text_column(self, values: Any, name: str, first_row: int) -> TextColumn:
        arrow = self._arrow
        try:
            if self._is_time(values.type):
                values = values.cast(arrow.timestamp("ns")).cast(arrow.int64())
            texts = values.cast(arrow.large_string())
        except arrow.ArrowException as exc:
            rows = f"rows {first_row} to {first_row + len(values) - 1}"
            reason = f"values of type {values.type} cannot be read ({_first_line(exc)})"
            refuse(self._path, reason, place=rows, column=name)
        _, offsets_buffer, data_buffer = texts.buffers()
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = bytes(data_buffer) if data_buffer is not None else b""
        return TextColumn(np.frombuffer(data + PADDING, dtype=np.uint8), offsets[:-1], offsets[1:])


class _damage_refused(AbstractContextManager[None]):  # noqa: N801 - reads as a clause in `with`
    """Turn the errors of a damaged gzip stream into a refusal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, EOFError):
            refuse(self._path, "the gzip stream ends too early: the file is truncated; fetch it again")
        if isinstance(error, (OSError, zlib.error)):
            refuse(self._path, f"cannot be read ({_first_line(error)}); the file is damaged, fetch it again")


def _peek(raw: BinaryIO, count: int) -> bytes:
    start = raw.read(count)
    raw.seek(0)
    return start


def _seekable(path: Path, raw: BinaryIO, stream: BinaryIO, start: io.BytesIO, stack: ExitStack) -> BinaryIO:
    """Return the stream from its start in a form that can be read in any order, as Parquet needs."""
    if stream is raw:
        raw.seek(0)
        return raw
    unpacked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    with _damage_refused(path):
        shutil.copyfileobj(start, unpacked)
        shutil.copyfileobj(stream, unpacked, CHUNK_BYTES)
    unpacked.seek(0)
    return unpacked


def _blocks(path: Path, start: bytes, stream: BinaryIO, report: Callable[[], None]) -> Iterator[bytes]:
    """Yield the stream in blocks of whole lines, each ending with a line break."""
    rest = start
    line = 1
    while True:
        with _damage_refused(path):
            data = stream.read(CHUNK_BYTES)
        report()
        whole, found, tail = (rest + data).rpartition(b"\n")
        if not data:
            if rest:
                yield rest + b"\n"
            return
        if len(tail) > MAX_LINE_BYTES:
            line += whole.count(b"\n") + len(found)
            refuse(path, f"is longer than {MAX_LINE_BYTES} bytes; this is not a table of prices", place=f"line {line}")
        if found:
            line += whole.count(b"\n") + 1
            yield whole + found
        rest = tail


def _trimmed(column: TextColumn, block: bytes) -> TextColumn:
    """Leave out blanks and double quotes around the cells."""
    if b" " not in block and b'"' not in block:
        return column
    buffer, starts, ends = column.buffer, column.starts.copy(), column.ends.copy()
    trim = np.isin(buffer, np.frombuffer(b' "', dtype=np.uint8))
    while (leading := trim[starts] & (starts < ends)).any():
        starts += leading
    while (trailing := trim[ends - 1] & (starts < ends)).any():
        ends -= trailing
    return TextColumn(buffer, starts, ends)


def _import_pyarrow(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency, and a heavy import
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError:
        refuse(path, "is a Parquet file; reading it needs the extra: pip install 'fauxchange[parquet]'")
    return pa, parquet


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
