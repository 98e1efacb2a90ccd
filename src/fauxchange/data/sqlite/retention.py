"""Deletion of what is older than the retention settings allow."""

from collections.abc import Iterable
from functools import partial

from sqlalchemy import Table, bindparam, delete, func, select, tuple_

from fauxchange.data.sqlite.database import SqliteDatabase
from fauxchange.data.sqlite.statements import SqliteStatement

DELETE_CHUNK = 5_000
"""How many rows one deletion takes: other writes wait for it about 10 ms."""


class Retention:
    """Deletion of a table's old rows, symbol by symbol in bounded pieces, between which other writes go on."""

    def __init__(self, table: Table, *, time: str, fixed: Iterable[str] = ()) -> None:
        key = list(table.primary_key.columns)
        old = (
            select(*key)
            .where(
                table.c.symbol == bindparam("symbol"),
                *(table.c[name] == bindparam(name) for name in fixed),
                table.c[time] < bindparam("before"),
            )
            .limit(bindparam("count"))
        )
        self._delete = SqliteStatement(delete(table).where(tuple_(*key).in_(old)))
        # The next symbol after another is one look into the key; DISTINCT would read all of it.
        self._next_symbol = SqliteStatement(
            select(func.min(table.c.symbol)).where(table.c.symbol > bindparam("symbol"))
        )

    async def run(self, database: SqliteDatabase, before: int, **fixed: object) -> int:
        """Delete what is older than `before`; return how many rows."""
        deleted = 0
        symbol = await database.read(lambda connection: self._next_symbol.value(connection, symbol=""))
        while symbol is not None:
            parameters = {"before": before, "symbol": symbol, "count": DELETE_CHUNK, **fixed}
            piece = partial(self._delete.execute, **parameters)
            gone = await database.write(piece, rows=0)
            deleted += gone
            if gone < DELETE_CHUNK:
                symbol = await database.read(partial(self._next_symbol.value, symbol=symbol))
        return deleted
