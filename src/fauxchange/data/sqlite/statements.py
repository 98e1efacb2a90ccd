"""Statements made with SQLAlchemy Core, compiled once, and records moved through them as JSON.

The sqlite3 module gives up the interpreter lock around each call into SQLite, for every row that `executemany` writes
and every row that is read, and a thread may wait long to get it back beside a busy event loop. So rows cross in one
piece: all records of a call are written by one `INSERT ... SELECT ... FROM json_each(?)`, and a page is read as one
value of `json_group_array`. Both sides of the JSON are compiled code, msgspec and SQLite.

Measured per row of 27 columns: 1.1 us under the lock and 5 us in all. Multi-row `VALUES` take 7 us, and a statement of
them holds 1,213 such rows at most, so that a call would need several, and a transaction around them.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, Table, Text, bindparam, cast, func, select, true, tuple_
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import TextClause

from fauxchange.data.documents import check_document, plain
from fauxchange.data.ports import Page
from fauxchange.data.queries import MAX_INT64, MIN_INT64, Position, Span, position_of
from fauxchange.data.relational import Dialect
from fauxchange.data.sqlite.transactions import Executor
from fauxchange.data.tables import AUDIT, CONFIGURATION, DOCUMENT, EXCHANGE, MARKET_DATA
from fauxchange.domain.errors import Conflict, InvariantViolation

Record = TypeVar("Record")

_DIALECT = sqlite.dialect(paramstyle="named")
_SCHEMAS = {MARKET_DATA: "main", AUDIT: "main", EXCHANGE: "main", CONFIGURATION: "main"}
CHUNK = 1_000
"""How many records are turned into JSON or back at a time: the interpreter lock is held for about 0.5 ms."""


class SqliteStatement:
    """A Core statement compiled for SQLite once; parameters are given by name."""

    def __init__(self, element: ClauseElement) -> None:
        compiled = element.compile(dialect=_DIALECT, schema_translate_map=_SCHEMAS, render_schema_translate=True)
        self.sql = str(compiled)
        self._defaults: dict[str, Any] = dict(compiled.params or {})

    def parameters(self, **given: object) -> dict[str, Any]:
        """Return all parameters of the statement, those that are not given with what the statement says or None."""
        return self._defaults | given

    def execute(self, connection: Executor, **parameters: object) -> int:
        """Run the statement to its end and return how many rows it changed."""
        changed: int = connection.execute(self.sql, self.parameters(**parameters)).rowcount
        return changed

    def value(self, connection: sqlite3.Connection, **parameters: object) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        rows = self.rows(connection, **parameters)
        return rows[0][0] if rows else None

    def rows(self, connection: sqlite3.Connection, **parameters: object) -> list[Any]:
        """Return all rows."""
        # All of them are fetched: a cursor left open would keep its view of the file, and the log from being emptied.
        return connection.execute(self.sql, self.parameters(**parameters)).fetchall()


class RecordTable(Generic[Record]):
    """A table whose rows are records of one class, with columns named like its fields."""

    def __init__(self, table: Table, kind: type[Record]) -> None:
        self.table = table
        document = next((column.name for column in table.c if column.type is DOCUMENT), None)
        self._document_of = attrgetter(document) if document else None
        # Not strict, because SQLite's truth values are 0 and 1.
        self._decoder = msgspec.json.Decoder(list[kind], strict=False)  # type: ignore[valid-type]  # a class at run time
        names = [column.name for column in table.c]
        self._row_of: Callable[[Record], Sequence[Any]] = attrgetter(*names)
        own: Sequence[str] = getattr(kind, "__struct_fields__", ())
        if set(own) == set(names):
            # In the struct's own order a row is made in a tenth of the time.
            names, self._row_of = list(own), msgspec.structs.astuple  # type: ignore[assignment]  # of a struct, as the names show
        given = func.json_each(cast(bindparam("rows"), Text)).table_valued("value")
        # Materialised, because SQLite would otherwise write out a row's text anew for each of its columns.
        rows = select(given.c.value).cte("given").prefix_with("MATERIALIZED")
        fields = select(*(func.json_extract(rows.c.value, f"$[{index}]") for index in range(len(names))))
        # Without a WHERE the parser would take ON CONFLICT for a join's condition.
        insert = sqlite.insert(table).from_select(names, fields.where(true()))
        self._insert = SqliteStatement(insert)
        replaced = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
        self._upsert = SqliteStatement(insert.on_conflict_do_update(index_elements=table.primary_key, set_=replaced))

    def insert(self, connection: Executor, records: Sequence[Record]) -> None:
        """Insert the records, all or none. Raises: Conflict if one is there already; InvalidRequest on a document."""
        self._store(self._insert, connection, records)

    def upsert(self, connection: Executor, records: Sequence[Record]) -> None:
        """Insert or replace the records, all or none. Raises: InvalidRequest on a document."""
        self._store(self._upsert, connection, records)

    def packed(self, rows: Select[Any]) -> SqliteStatement:
        """Return the statement whose value is the JSON of all records that `rows` selects."""
        source = rows.subquery()
        fields = (
            (column.name, func.json(column) if self.table.c[column.name].type is DOCUMENT else column)
            for column in source.c
        )
        arguments = (part for field in fields for part in field)
        return SqliteStatement(select(func.json_group_array(func.json_object(*arguments))))

    def unpack(self, text: str) -> list[Record]:
        """Return the records of a packed statement's value."""
        return self._decoder.decode(text)

    def _store(self, statement: SqliteStatement, connection: Executor, records: Sequence[Record]) -> None:
        if self._document_of is not None:
            for document in filter(None, map(self._document_of, records)):
                check_document(document)
        # As arrays the rows are half as long as they would be as objects.
        chunks = (map(self._row_of, records[start : start + CHUNK]) for start in range(0, len(records), CHUNK))
        rows = b",".join(msgspec.json.encode(list(chunk), enc_hook=plain)[1:-1] for chunk in chunks)
        try:
            statement.execute(connection, rows=b"[%b]" % rows)
        except sqlite3.IntegrityError as exc:
            if exc.sqlite_errorcode in {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}:
                raise Conflict(f"{self.table.name} has one of these records already") from exc
            raise InvariantViolation(f"{self.table.name} refuses a record: {exc}") from exc


class RecordPages(Generic[Record]):
    """Records of a table with the same values of the `fixed` columns, ordered by their `position`."""

    def __init__(
        self,
        records: RecordTable[Record],
        *,
        fixed: Iterable[str],
        position: Sequence[str],
        conditions: Iterable[ColumnElement[bool] | TextClause] = (),
    ) -> None:
        self._records = records
        self._width = len(position)
        self.position: Callable[[Record], Position] = position_of(*position)
        columns = records.table.c
        place = tuple_(*(columns[name] for name in position))
        rows = select(records.table).where(
            *(columns[name] == bindparam(name) for name in fixed),
            *conditions,
            place > tuple_(*(bindparam(f"low_{index}") for index in range(self._width))),
            place < tuple_(*(bindparam(f"high_{index}") for index in range(self._width))),
        )
        rows = rows.limit(bindparam("count"))
        self.oldest_first = records.packed(rows.order_by(*(columns[name] for name in position)))
        self.newest_first = records.packed(rows.order_by(*(columns[name].desc() for name in position)))

    def newest(self, connection: sqlite3.Connection, **fixed: object) -> Record | None:
        """Return the record of the greatest position."""
        everything = Span("", (MIN_INT64,) * self._width, (MAX_INT64,) * self._width, limit=1, newest_first=True)
        records = self._chunk(connection, everything, count=1, fixed=fixed)
        return records[0] if records else None

    def read(self, connection: sqlite3.Connection, span: Span, **fixed: object) -> Page[Record]:
        """Return the page of a span."""
        records: list[Record] = []
        rest = span
        while (wanted := span.limit + 1 - len(records)) > 0:
            count = min(wanted, CHUNK)
            chunk = self._chunk(connection, rest, count=count, fixed=fixed)
            records += chunk
            if len(chunk) < count:
                break
            reached = self.position(chunk[-1])
            rest = replace(rest, high=reached) if span.newest_first else replace(rest, low=reached)
        return span.page(records, self.position)

    def _chunk(
        self, connection: sqlite3.Connection, span: Span, *, count: int, fixed: Mapping[str, object]
    ) -> list[Record]:
        statement = self.newest_first if span.newest_first else self.oldest_first
        low = {f"low_{index}": part for index, part in enumerate(span.low)}
        high = {f"high_{index}": part for index, part in enumerate(span.high)}
        records = self._records.unpack(statement.value(connection, count=count, **low, **high, **fixed))
        # An aggregate need not keep the order of its rows (SQLite does); sorting what is sorted costs next to nothing.
        records.sort(key=self.position, reverse=span.newest_first)
        return records


def ddl(element: ExecutableDDLElement) -> str:
    """Return the text of a statement that defines something."""
    return str(element.compile(dialect=_DIALECT, schema_translate_map=_SCHEMAS, render_schema_translate=True))


def create(connection: sqlite3.Connection, table: Table) -> None:
    """Create a table and its indexes."""
    connection.execute(ddl(CreateTable(table)))
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        connection.execute(ddl(CreateIndex(index)))


DIALECT = Dialect(SqliteStatement, RecordTable, RecordPages, deletion_rows=0)
"""A deletion does not count as waiting rows: it is one of many pieces."""
