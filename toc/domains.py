"""The hosts and registrable domains on record, each read once. Knows how each database finds the values of an index."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

_STEPS = """
WITH RECURSIVE known(name) AS (
  SELECT min({column}) FROM {table} WHERE {column} >= :low AND {column} < :high
  UNION ALL
  SELECT (SELECT min(t.{column}) FROM {table} t WHERE t.{column} > known.name AND t.{column} < :high)
  FROM known WHERE known.name IS NOT NULL
)
SELECT name FROM known WHERE name IS NOT NULL
"""
"""From one value of the index to the next: SQLite has no plan of its own for DISTINCT that skips repetitions."""

_EVERYTHING = (("", "\U0010ffff"),)
_ADDRESSES = (("0", ":"), ("[", "\\"))


async def on_record(
    connection: AsyncConnection, table: Table, *, addresses: bool = False, column: Literal["domain", "host"] = "domain"
) -> list[str]:
    """Every domain, or host, in `table`. addresses: only what may be an IP address, which stands for its own domain."""
    if connection.dialect.name == "postgresql":  # whose collations may sort otherwise
        only = f"WHERE {column} ~ '^[0-9[]'" if addresses else ""  # in the words of the index (migration 0007)
        found = await connection.execute(text(f"SELECT DISTINCT {column} FROM {table.name} {only}"))  # noqa: S608
        return list(found.scalars())
    names: list[str] = []
    for low, high in _ADDRESSES if addresses else _EVERYTHING:
        query = text(_STEPS.format(table=table.name, column=column))
        names += (await connection.execute(query, {"low": low, "high": high})).scalars()
    return names
