"""The registrable domains on record, each read once. Knows the tables with a `domain` and how each database finds its values."""

from __future__ import annotations

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

_STEPS = """
WITH RECURSIVE known(domain) AS (
  SELECT min(domain) FROM {table} WHERE domain >= :low AND domain < :high
  UNION ALL
  SELECT (SELECT min(t.domain) FROM {table} t WHERE t.domain > known.domain AND t.domain < :high)
  FROM known WHERE known.domain IS NOT NULL
)
SELECT domain FROM known WHERE domain IS NOT NULL
"""
"""From one value of the index to the next: SQLite has no plan of its own for DISTINCT that skips repetitions."""

_EVERYTHING = (("", "\U0010ffff"),)
_ADDRESSES = (("0", ":"), ("[", "\\"))


async def on_record(connection: AsyncConnection, table: Table, *, addresses: bool = False) -> list[str]:
    """Every domain in `table`. addresses: only what may be an IP address, which stands for its own domain."""
    if connection.dialect.name == "postgresql":  # whose collations may sort otherwise
        only = "WHERE domain ~ '^[0-9[]'" if addresses else ""
        found = await connection.execute(text(f"SELECT DISTINCT domain FROM {table.name} {only}"))  # noqa: S608
        return list(found.scalars())
    names: list[str] = []
    for low, high in _ADDRESSES if addresses else _EVERYTHING:
        query = text(_STEPS.format(table=table.name))
        names += (await connection.execute(query, {"low": low, "high": high})).scalars()
    return names
