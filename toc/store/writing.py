"""Statements that the two databases spell differently. Knows dialects, and the counters of `changes`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.store.schema import changes


def insert(connection: Connection | AsyncConnection, table: Table) -> Any:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


async def touch(connection: AsyncConnection, name: str) -> None:
    """Move the counter of a table that workers hold in memory, within the same transaction as the change."""
    statement = insert(connection, changes).values(name=name, counter=1)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"counter": changes.c.counter + 1})
    )
