"""Keeping the targets of stored links (version 2), durably, before the link leaves. Knows one table."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.errors import StoreError
from toc.store.engine import SQLITE_PRAGMAS, is_sqlite, open_async, reason_of
from toc.store.schema import stored_links, to_micros
from toc.store.writing import insert

_INSERT = "INSERT INTO stored_links (id, field, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def open_store(url: str, clock: Callable[[], datetime]) -> Callable[[bytes, bytes], None]:
    """A function that keeps a target field under its id and returns once it is durable. It raises StoreError."""
    return _sqlite_store(url.removeprefix("sqlite:///"), clock) if is_sqlite(url) else _postgres_store(url, clock)


def _sqlite_store(path: str, clock: Callable[[], datetime]) -> Callable[[bytes, bytes], None]:
    connection: sqlite3.Connection | None = None

    def keep(link_id: bytes, field: bytes) -> None:
        nonlocal connection
        try:
            if connection is None:
                connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=1.0, isolation_level=None)
                for pragma in SQLITE_PRAGMAS:
                    connection.execute(pragma)
            connection.execute(_INSERT, (link_id, field, to_micros(clock())))
        except sqlite3.Error as error:
            connection = None
            raise StoreError(f"stored links: {reason_of(error)}") from None

    return keep


def _postgres_store(url: str, clock: Callable[[], datetime]) -> Callable[[bytes, bytes], None]:
    """The rewriter is synchronous: a private loop on a thread of its own carries its few questions."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="stored-links", daemon=True).start()
    engine: AsyncEngine = open_async(url)

    async def put(link_id: bytes, field: bytes) -> None:
        async with engine.begin() as connection:
            values = {"id": link_id, "field": field, "time": clock()}
            await connection.execute(insert(connection, stored_links).values(**values).on_conflict_do_nothing())

    def keep(link_id: bytes, field: bytes) -> None:
        try:
            asyncio.run_coroutine_threadsafe(put(link_id, field), loop).result(timeout=2.0)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StoreError(f"stored links: {reason_of(error)}") from None

    return keep
