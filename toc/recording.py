"""Mails go on record in groups: what has come while one transaction was written goes into the next, with one fsync for all.

Knows engines and the receipts' spool. A mail's answer waits until its record is durable: in the database, or, where that fails
or is slow, in the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.receipts import ReceiptSpool
from toc.records import MessageRecord, store_all
from toc.store.engine import is_sqlite, open_sync, reason_of

log = structlog.get_logger("toc.recording")

GROUP = 64
"""Records in one transaction: at about a millisecond each, none waits long for those before it."""

RECORD_SECONDS = 2.0


class Recording:
    """One task that writes, and a queue before it."""

    def __init__(self, url: str, engine: AsyncEngine, spool: ReceiptSpool) -> None:
        self._engine = engine
        self._spool = spool
        self._waiting: asyncio.Queue[tuple[MessageRecord, asyncio.Future[None]]] = asyncio.Queue()
        self._sqlite: Engine | None = open_sync(url) if is_sqlite(url) else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recording")

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, engine: AsyncEngine, spool: ReceiptSpool) -> AsyncIterator[Recording]:
        recording = cls(url, engine, spool)
        writing = asyncio.create_task(recording._write_for_ever())
        try:
            yield recording
        finally:
            writing.cancel()
            recording._thread.shutdown()
            if recording._sqlite is not None:
                recording._sqlite.dispose()

    async def record(self, record: MessageRecord) -> None:
        """Returns when the record is durable. Raises what the spool raised where not even that took it (OSError)."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((record, done))
        await done

    async def _write_for_ever(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            await self._write(group)

    async def _write(self, group: Sequence[tuple[MessageRecord, asyncio.Future[None]]]) -> None:
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._commit([record for record, _ in group])
        except Exception as error:  # whatever it is: no mail is kept waiting for a database
            log.error("receipt_spooled", reason="spooled", error=reason_of(error), records=len(group))
            for record, done in group:
                await self._keep(record, done)
        for _, done in group:
            if not done.done():  # a mail that its server gave up waits no longer
                done.set_result(None)

    async def _keep(self, record: MessageRecord, done: asyncio.Future[None]) -> None:
        try:
            await asyncio.to_thread(self._spool.keep, record)
        except Exception as error:  # the answer to this mail says so; the others go on
            if not done.done():
                done.set_exception(error)

    async def _commit(self, records: Sequence[MessageRecord]) -> None:
        """SQLite is written by a thread of its own: through aiosqlite each statement would change threads twice."""
        if self._sqlite is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, _commit, self._sqlite, records)
            return
        async with self._engine.begin() as connection:
            await connection.run_sync(store_all, records)


def _commit(engine: Engine, records: Sequence[MessageRecord]) -> None:
    with engine.begin() as connection:
        store_all(connection, records)
