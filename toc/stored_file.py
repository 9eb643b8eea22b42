"""The stored-link file: targets of version 2 links for nodes that have no database, or whose database is away.

A small SQLite file of its own beside the database: the management process brings new rows over, a click only reads.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.store.schema import from_micros, stored_links, to_micros

FILE_NAME = "stored-links.sqlite"
PART = 5000
"""Rows of one transaction."""

_MAKE = "CREATE TABLE IF NOT EXISTS stored_links (id BLOB PRIMARY KEY, field BLOB NOT NULL, time INTEGER NOT NULL) WITHOUT ROWID"
_INSERT = "INSERT INTO stored_links (id, field, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def find(path: Path, link_id: bytes) -> bytes | None:
    """The target field; None where the file has no such row. Raises sqlite3.Error where there is no such file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.05)
    try:
        row = connection.execute("SELECT field FROM stored_links WHERE id = ?", (link_id,)).fetchone()
    finally:
        connection.close()
    return None if row is None else bytes(row[0])


async def follow(engine: AsyncEngine, path: Path) -> int:
    """Bring over what the database has and the file has not. How many rows were looked at. Raises SQLAlchemyError."""
    since = from_micros(await asyncio.to_thread(_newest, path))
    newer = select(stored_links).where(stored_links.c.time >= since).order_by(stored_links.c.time)
    seen = 0
    async with engine.connect() as connection:
        found = await connection.stream(newer)
        async for rows in found.partitions(PART):
            values = [(bytes(row.id), bytes(row.field), to_micros(row.time)) for row in rows]
            await asyncio.to_thread(_append, path, values)
            seen += len(values)
    return seen


def _newest(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        connection.execute(_MAKE)
        return int(connection.execute("SELECT coalesce(max(time), 0) FROM stored_links").fetchone()[0])
    finally:
        connection.close()


def _append(path: Path, values: Sequence[tuple[bytes, bytes, int]]) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.executemany(_INSERT, values)
    finally:
        connection.close()
