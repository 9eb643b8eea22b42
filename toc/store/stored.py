"""The targets of stored links (version 2): kept durably before the link leaves, and found again for a mail that is restored.

Knows one table. For the rewriter, which is synchronous; a click finds its target through `toc.sightings`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.errors import StoreError
from toc.store.engine import SQLITE_PRAGMAS, is_sqlite, open_async, reason_of
from toc.store.schema import stored_links, to_micros
from toc.store.writing import insert

_INSERT = "INSERT INTO stored_links (id, field, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_FIND = "SELECT field FROM stored_links WHERE id = ?"
PATIENCE = 2.0
"""Seconds that a mail waits for the database."""

_Answer = TypeVar("_Answer")


class StoredLinks(Protocol):
    """`keep` and `find` raise StoreError where the database does not answer."""

    def keep(self, link_id: bytes, field: bytes) -> None:
        """Returns once the target field is durable under its id."""
        ...

    def find(self, link_id: bytes) -> bytes | None:
        """The target field; None where there is no such row."""
        ...

    def close(self) -> None: ...


def open_store(url: str, clock: Callable[[], datetime]) -> StoredLinks:
    return _Sqlite(url.removeprefix("sqlite:///"), clock) if is_sqlite(url) else _Postgres(url, clock)


class _Sqlite:
    def __init__(self, path: str, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def keep(self, link_id: bytes, field: bytes) -> None:
        self._asked(_INSERT, link_id, field, to_micros(self._clock()))

    def find(self, link_id: bytes) -> bytes | None:
        row = self._asked(_FIND, link_id)
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _asked(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        try:
            if self._connection is None:
                uri = f"file:{self._path}?mode=rw"
                self._connection = sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)
                for pragma in SQLITE_PRAGMAS:
                    self._connection.execute(pragma)
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row
        except sqlite3.Error as error:
            self._connection = None
            raise StoreError(f"stored links: {reason_of(error)}") from None


class _Postgres:
    """A loop of its own, which runs while a question is under way."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._runner = asyncio.Runner()
        self._engine: AsyncEngine = open_async(url)

    def keep(self, link_id: bytes, field: bytes) -> None:
        self._asked(self._put(link_id, field))

    def find(self, link_id: bytes) -> bytes | None:
        return self._asked(self._get(link_id))

    def close(self) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()

    def _asked(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        try:
            return self._runner.run(asyncio.wait_for(question, PATIENCE))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise StoreError(f"stored links: {reason_of(error)}") from None

    async def _put(self, link_id: bytes, field: bytes) -> None:
        async with self._engine.begin() as connection:
            values = {"id": link_id, "field": field, "time": self._clock()}
            await connection.execute(insert(connection, stored_links).values(**values).on_conflict_do_nothing())

    async def _get(self, link_id: bytes) -> bytes | None:
        async with self._engine.connect() as connection:
            field = await connection.scalar(select(stored_links.c.field).where(stored_links.c.id == link_id))
        return None if field is None else bytes(field)
