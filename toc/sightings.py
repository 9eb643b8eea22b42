"""When a host was first seen here, and by how many: read for a verdict. Written by `toc.records`, beside the mails.

SQLite is read directly on the caller's thread: one indexed look-up in the page cache takes microseconds, less than
handing it to another thread. PostgreSQL is asked asynchronously. Both keep a short memory, as clicks come in bursts.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, bindparam, distinct, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from toc import stored_file
from toc.errors import StoreNeeded
from toc.store.engine import is_sqlite, open_async
from toc.store.schema import clicks, first_seen, stored_links
from toc.token import Sealed

MEMORY = 20_000
MEMORY_SECONDS = 60.0

FAMILIAR_DAYS = 7
FAMILIAR_PEOPLE = 10
"""Seen on so many days and by so many people here, a host's signs are cancelled (docs/verdict.md)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """first: microseconds since 1970; days: on how many days; people: recipients of all its messages."""

    first: int
    days: int
    people: int

    @property
    def familiar(self) -> bool:
        return self.days >= FAMILIAR_DAYS and self.people >= FAMILIAR_PEOPLE


UNKNOWN = Sighting(-1, 0, 0)
"""Not remembered: the store must be asked."""


class StoreReader:
    """The two look-ups that a click may need of the database."""

    def __init__(self, url: str | None, clock: Callable[[], float], stored: Path | None = None) -> None:
        """`url`: None on a node without a database. `stored`: the stored-link file (`toc.stored_file`)."""
        self._clock = clock
        self._stored = stored
        self._memory: dict[str, tuple[float, Sighting | None]] = {}
        self._path = url.removeprefix("sqlite:///") if url and is_sqlite(url) else None
        self._connection: sqlite3.Connection | None = None
        self._engine: AsyncEngine | None = open_async(url) if url and not is_sqlite(url) else None

    def remembered(self, host: str) -> Sighting | None:
        """What `sighting` would say without asking the store; `UNKNOWN` where it would have to ask."""
        known = self._memory.get(host)
        return known[1] if known is not None and self._clock() - known[0] < MEMORY_SECONDS else UNKNOWN

    async def sighting(self, host: str) -> Sighting | None:
        """What is known of `host`; None where it was never seen, or where the database does not answer."""
        now = self._clock()
        known = self._memory.get(host)
        if known is not None and now - known[0] < MEMORY_SECONDS:
            return known[1]
        if self._engine is None:
            row = self._row("SELECT time, days, people FROM first_seen WHERE name = ?", host)
            found = Sighting(*row) if row else None
        else:
            found = await self._ask_sighting(self._engine, host)
        if len(self._memory) >= MEMORY:  # begins anew, which costs less than to know the oldest
            self._memory = {}
        self._memory[host] = (now, found)
        return found

    async def stored(self, link_id: bytes) -> bytes | None:
        """The target field of a version 2 link; None where the database has no such row.

        Raises StoreNeeded where neither the database nor the stored-link file can say: the link is good, as its seal is.
        """
        try:
            if self._path is not None:
                return self._stored_in_sqlite(link_id)
            if self._engine is not None:
                async with self._engine.connect() as connection:
                    field = await connection.scalar(select(stored_links.c.field).where(stored_links.c.id == link_id))
                return None if field is None else bytes(field)
        except (sqlite3.Error, SQLAlchemyError, OSError):
            pass  # the file may know it
        if self._stored is not None:
            with contextlib.suppress(sqlite3.Error):
                field = stored_file.find(self._stored, link_id)
                if field is not None:
                    return field
        raise StoreNeeded("the target of this link is in the database, which is not at hand")

    def _stored_in_sqlite(self, link_id: bytes) -> bytes | None:
        """Raises sqlite3.Error."""
        row = self._asked("SELECT field FROM stored_links WHERE id = ?", (link_id,))
        return None if row is None else bytes(row[0])

    async def networks(self, sealed: Sealed) -> int:
        """From how many client networks this link was clicked so far."""
        keys = (sealed.message_ref, sealed.recipient_ref, sealed.target)
        if self._path is not None:
            row = self._row(_NETWORKS_SQLITE, *keys)
            return row[0] if row else 0
        if self._engine is None:
            return 0
        with contextlib.suppress(SQLAlchemyError, OSError):
            async with self._engine.connect() as connection:
                return int(await connection.scalar(_networks(*keys)) or 0)
        return 0

    async def _ask_sighting(self, engine: AsyncEngine, host: str) -> Sighting | None:
        with contextlib.suppress(SQLAlchemyError, OSError):
            async with engine.connect() as connection:
                found = (await connection.execute(_SIGHTING, {"host": host})).first()
                if found:
                    return Sighting(int(found.time.timestamp() * 1_000_000), found.days, found.people)
        return None

    def _row(self, query: str, *keys: object) -> tuple[Any, ...] | None:
        """The row; None where there is none, or where no SQLite answers."""
        try:
            return None if self._path is None else self._asked(query, keys)
        except sqlite3.Error:
            return None

    def _asked(self, query: str, keys: tuple[object, ...]) -> tuple[Any, ...] | None:
        """Raises sqlite3.Error."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0.05)
            row: tuple[Any, ...] | None = self._connection.execute(query, keys).fetchone()
            return row
        except sqlite3.Error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise


_NETWORKS_SQLITE = "SELECT count(DISTINCT network) FROM clicks WHERE message_ref = ? AND recipient_ref = ? AND url = ?"


def _networks(message_ref: bytes, recipient_ref: bytes, url: str) -> Select[Any]:
    return select(func.count(distinct(clicks.c.network))).where(
        clicks.c.message_ref == message_ref, clicks.c.recipient_ref == recipient_ref, clicks.c.url == url
    )


_SIGHTING = select(first_seen.c.time, first_seen.c.days, first_seen.c.people).where(
    first_seen.c.name == bindparam("host")
)
