"""Deletion of what is older than the retention settings allow."""

from collections.abc import Iterable
from functools import partial

from sqlalchemy import Table, bindparam, delete, func, select, tuple_

from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.statements import PostgresStatement

DELETE_CHUNK = 5_000
"""How many rows one deletion takes, and commits: none gets near the deadline of a call."""


class Retention:
    """Deletion of a table's old rows, symbol by symbol in bounded pieces."""

    def __init__(self, table: Table, *, time: str, fixed: Iterable[str] = ()) -> None:
        key = list(table.primary_key.columns)
        old = (
            select(*key)
            .where(
                table.c.symbol == bindparam("symbol"),
                *(table.c[name] == bindparam(name) for name in fixed),
                table.c[time] < bindparam("before", type_=table.c[time].type),
            )
            .limit(bindparam("count"))
        )
        self._delete = PostgresStatement(delete(table).where(tuple_(*key).in_(old)))
        # The next symbol after another is one look into the key; DISTINCT would read all of it.
        self._next_symbol = PostgresStatement(
            select(func.min(table.c.symbol)).where(table.c.symbol > bindparam("symbol"))
        )

    async def run(self, database: PostgresDatabase, before: int, **fixed: object) -> int:
        """Delete what is older than `before`; return how many rows."""
        deleted = 0
        symbol = await database.run(partial(self._next_symbol.value, symbol=""))
        while symbol is not None:
            parameters = {"before": before, "symbol": symbol, "count": DELETE_CHUNK, **fixed}
            gone = await database.run(partial(self._delete.execute, **parameters), rows=DELETE_CHUNK)
            deleted += gone
            if gone < DELETE_CHUNK:
                symbol = await database.run(partial(self._next_symbol.value, symbol=symbol))
        return deleted
