"""Statements made with SQLAlchemy Core, compiled once, and records moved through them in one piece.

Many records go in by COPY, the quickest way there is (7 us per price, where one INSERT of all rows as JSON or arrays
takes 14 to 20): straight into the table, or by way of a temporary table where some replace others, which takes twice as
long. COPY itself tells which it is, as it stores nothing if one row is there already. A few records go in by one
INSERT, which is one round trip.

Rows come as one JSON value that the server makes and msgspec decodes: that takes half the time on the event loop that
psycopg needs to make Python objects of each column (16 ms and 33 ms for 10,000 prices). JSON numbers keep all digits of
a NUMERIC, and a JSON column goes into the value as the text that it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import psycopg
from psycopg import errors as pg
from sqlalchemy import ColumnElement, Select, Table, Text, bindparam, cast, func, literal_column, select, text, tuple_
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import TextClause

from fauxchange.data.documents import encode_document
from fauxchange.data.ports import Page
from fauxchange.data.queries import MAX_INT64, MIN_INT64, Position, Span, position_of
from fauxchange.data.relational import DELETE_CHUNK, Dialect
from fauxchange.data.tables import DOCUMENT

Record = TypeVar("Record")
Connection = psycopg.AsyncConnection[Any]

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
_STAGED_BYTES = 32 * 1024 * 1024
"""Up to what size rows stay in a temporary table that are done with: to cut it off each time takes longer than to pass
them over."""
_STAGED_AFTER_CONFLICT = 20
"""How many times in a row records that may replace others are staged, after they were found to do so once."""
_COPY_FROM = 100
"""From how many rows on COPY is quicker than one INSERT, with its additional round trips."""


class PostgresStatement:
    """A Core statement compiled for PostgreSQL once; parameters are given by name."""

    def __init__(self, element: ClauseElement) -> None:
        compiled = element.compile(dialect=_DIALECT)
        self.sql = str(compiled).encode()
        self._defaults: dict[str, Any] = dict(compiled.params or {})

    async def execute(self, connection: Connection, **parameters: object) -> int:
        """Run the statement and return how many rows it changed."""
        return (await connection.execute(self.sql, self._defaults | parameters)).rowcount

    async def value(self, connection: Connection, **parameters: object) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        row = await (await connection.execute(self.sql, self._defaults | parameters)).fetchone()
        return None if row is None else row[0]

    async def rows(self, connection: Connection, **parameters: object) -> list[Any]:
        """Return all rows."""
        return await (await connection.execute(self.sql, self._defaults | parameters)).fetchall()


class RecordTable(Generic[Record]):
    """A table whose rows are records of one class, with columns named like its fields."""

    def __init__(self, table: Table, kind: type[Record]) -> None:
        self.table = table
        self._decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # a class at run time
        # A record's document is made into text; everything else the driver takes as it is.
        document = next((column.name for column in table.c if column.type is DOCUMENT), None)
        plain = [column.name for column in table.c if column.type is not DOCUMENT]
        names = plain if document is None else [*plain, document]
        self._plain_of = attrgetter(*plain)
        self._document_of = attrgetter(document) if document else None
        self._key_of = attrgetter(*(column.name for column in table.primary_key))
        self._expected_conflicts = 0
        quoted = [_DIALECT.identifier_preparer.quote(name) for name in names]
        keys = [_DIALECT.identifier_preparer.quote(column.name) for column in table.primary_key]
        columns, target, staging = ", ".join(quoted), table.fullname, f"staging_{table.name}"
        replaced = ", ".join(f"{name} = excluded.{name}" for name in quoted if name not in keys)
        self._marks = "(" + ", ".join(f"%s::{table.c[name].type.compile(_DIALECT)}" for name in names) + ")"
        self._insert = f"INSERT INTO {target} ({columns}) "
        self._copy = f"COPY {target} ({columns}) FROM STDIN".encode()
        self._on_conflict = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {replaced}"
        self._stage = f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging} (LIKE {target})".encode()
        self._copy_staging = f"COPY {staging} ({columns}) FROM STDIN".encode()
        # What earlier transactions have left there is not ours.
        own = f"SELECT {columns} FROM {staging} WHERE xmin = pg_current_xact_id()::xid"  # noqa: S608 - constants
        self._from_staging = f"{self._insert}{own}{self._on_conflict}".encode()
        self._staged_bytes = f"SELECT pg_relation_size('{staging}')".encode()
        self._clear_staging = f"TRUNCATE {staging}".encode()

    async def insert(self, connection: Connection, records: Sequence[Record]) -> None:
        """Insert the records, all or none.

        Raises: psycopg.errors.UniqueViolation if one is there already; InvalidRequest on a document
        """
        if len(records) < _COPY_FROM:
            await self._few(connection, records, then="")
        else:
            await self._many(connection, self._copy, records)

    async def upsert(self, connection: Connection, records: Sequence[Record]) -> None:
        """Insert or replace the records, all or none; of two with one key the later stays.

        Raises: InvalidRequest on a document
        """
        unique = {self._key_of(record): record for record in records}
        # In the order of their keys, so that two writers of the same rows cannot wait for each other.
        ordered = [unique[key] for key in sorted(unique)]
        if len(ordered) < _COPY_FROM:
            await self._few(connection, ordered, then=self._on_conflict)
            return
        if self._expected_conflicts == 0:
            try:
                await self._many(connection, self._copy, ordered)
            except pg.UniqueViolation:
                self._expected_conflicts = _STAGED_AFTER_CONFLICT
            else:
                return
        self._expected_conflicts -= 1
        async with connection.transaction():
            await connection.execute(self._stage)
            await self._many(connection, self._copy_staging, ordered)
            await connection.execute(self._from_staging)
            size = await (await connection.execute(self._staged_bytes)).fetchone()
            if size is not None and size[0] > _STAGED_BYTES:
                await connection.execute(self._clear_staging)

    def packed(self, rows: Select[Any]) -> PostgresStatement:
        """Return the statement whose value is the JSON of all records that `rows` selects, in their order."""
        source = rows.subquery()
        fields = (part for column in source.c for part in (literal_column(f"'{column.name}'"), column))
        # An object has at most 50 fields this way, as a function has at most 100 arguments.
        packed = func.json_agg(func.json_build_object(*fields))
        return PostgresStatement(select(func.coalesce(cast(packed, Text), text("'[]'"))))

    def unpack(self, value: str) -> list[Record]:
        """Return the records of a packed statement's value."""
        return self._decoder.decode(value)

    def _row(self, record: Record) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._plain_of(record)
        if self._document_of is None:
            return row
        document = self._document_of(record)
        return (*row, encode_document(document) if document else "{}")

    async def _few(self, connection: Connection, records: Sequence[Record], *, then: str) -> None:
        if records:
            values = ", ".join([self._marks] * len(records))
            parameters = [value for record in records for value in self._row(record)]
            await connection.execute(f"{self._insert}VALUES {values}{then}".encode(), parameters)

    async def _many(self, connection: Connection, statement: bytes, records: Sequence[Record]) -> None:
        # Each row is made while the server takes in those before it.
        async with connection.cursor().copy(statement) as copy:
            for record in records:
                await copy.write_row(self._row(record))


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
        kinds = [columns[name].type for name in position]
        rows = select(records.table).where(
            *(columns[name] == bindparam(name) for name in fixed),
            *conditions,
            place > tuple_(*(bindparam(f"low_{index}", type_=kind) for index, kind in enumerate(kinds))),
            place < tuple_(*(bindparam(f"high_{index}", type_=kind) for index, kind in enumerate(kinds))),
        )
        rows = rows.limit(bindparam("count"))
        self.oldest_first = records.packed(rows.order_by(*(columns[name] for name in position)))
        self.newest_first = records.packed(rows.order_by(*(columns[name].desc() for name in position)))

    async def newest(self, connection: Connection, **fixed: object) -> Record | None:
        """Return the record of the greatest position."""
        everything = Span("", (MIN_INT64,) * self._width, (MAX_INT64,) * self._width, limit=1, newest_first=True)
        records = await self._records_of(connection, everything, count=1, fixed=fixed)
        return records[0] if records else None

    async def read(self, connection: Connection, span: Span, **fixed: object) -> Page[Record]:
        """Return the page of a span."""
        return span.page(await self._records_of(connection, span, count=span.limit + 1, fixed=fixed), self.position)

    async def _records_of(
        self, connection: Connection, span: Span, *, count: int, fixed: Mapping[str, object]
    ) -> list[Record]:
        statement = self.newest_first if span.newest_first else self.oldest_first
        low = {f"low_{index}": part for index, part in enumerate(span.low)}
        high = {f"high_{index}": part for index, part in enumerate(span.high)}
        records = self._records.unpack(await statement.value(connection, count=count, **low, **high, **fixed))
        # Nothing promises that an aggregate keeps the order of its rows; sorting what is sorted costs next to nothing.
        records.sort(key=self.position, reverse=span.newest_first)
        return records


DIALECT = Dialect(PostgresStatement, RecordTable, RecordPages, deletion_rows=DELETE_CHUNK)
"""A deletion has the time that so many rows may take."""
