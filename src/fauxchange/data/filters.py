"""Filters of the exchange's queries, as the SQL stores put them into a statement."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, false, literal_column


def given_filters(**filters: Any) -> dict[str, Any]:
    """Return the filters that are set."""
    return {name: value for name, value in filters.items() if value is not None}


def one_of(column: ColumnElement[int], values: Sequence[int] | None) -> list[Any]:
    """Return the condition that a column has one of these values, no condition if there are none to look at."""
    if values is None:
        return []
    return [column.in_([literal_column(str(int(value))) for value in values]) if values else false()]


def inside(column: ColumnElement[int], bounds: Sequence[str]) -> list[Any]:
    """Return the conditions that a time lies within those of the bounds `start_ns` and `end_ns` that are named."""
    conditions = {
        "start_ns": column >= bindparam("start_ns", type_=BigInteger),
        "end_ns": column < bindparam("end_ns", type_=BigInteger),
    }
    return [conditions[name] for name in bounds]
