"""What the two databases spell differently. Knows dialects, and the counters of `changes`."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from toc.store.schema import changes


def insert(connection: Connection | AsyncConnection, table: Table) -> Any:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return insert_for(connection.dialect.name, table)


def insert_new(connection: Connection | AsyncConnection, table: Table) -> Any:
    """An INSERT that leaves alone what is there already. One object for each table: making it costs more than running it."""
    return _insert_new(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Any:
    """`insert` for a statement that is made once and kept."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@cache
def _insert_new(dialect: str, table: Table) -> Any:
    return insert_for(dialect, table).on_conflict_do_nothing()


async def touch(connection: AsyncConnection, name: str) -> None:
    """Move the counter of a table that workers hold in memory, within the same transaction as the change."""
    statement = insert(connection, changes).values(name=name, counter=1)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"counter": changes.c.counter + 1})
    )


class _Lower(FunctionElement[str]):
    """Small letters in every script. SQLite's own ``lower`` knows ASCII only: `toc.store.engine` gives it a better one."""

    type = Text()
    inherit_cache = True


@compiles(_Lower)
def _lower(element: Any, compiler: Any, **more: Any) -> str:
    return f"lower({compiler.process(element.clauses, **more)})"


@compiles(_Lower, "sqlite")
def _lower_sqlite(element: Any, compiler: Any, **more: Any) -> str:
    return f"toc_lower({compiler.process(element.clauses, **more)})"


def containing(column: Column[Any], value: str) -> ColumnElement[bool]:
    """Whether `value` stands somewhere in the column, in capital or small letters; nothing in it is a wildcard."""
    if value.isascii() or value.lower() == value.upper():
        escaped = value.replace("/", "//").replace("%", "/%").replace("_", "/_")
        return column.ilike(f"%{escaped}%", escape="/")
    return _Lower(column).contains(value.lower(), autoescape=True)
