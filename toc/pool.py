"""The rewriting pool: processes that rewrite, so that neither a click nor a call of the console ever waits for a mail.

Also sees to it that each rewrite is on record: in the database, or in a file beside it until the database is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from rewriter.api import Envelope, Outcome
from toc import rewriting
from toc.errors import Overloaded
from toc.receipts import ReceiptSpool
from toc.recording import Recording
from toc.startup import Startup

log = structlog.get_logger("toc.pool")

MESSAGES = Counter("toc_messages_total", "Messages and bodies by what was asked and what came out", ["verb", "outcome"])
URLS = Counter(
    "toc_urls_total", "URLs found in mails by outcome, reason and kind of place", ["outcome", "reason", "kind"]
)

WAITING_PER_PROCESS = 200
"""More mails than this in the queue get a 503: the gateway keeps them and tries again."""


class RewritingPool:
    """The `rewriter.api.Service` of the management process."""

    def __init__(self, startup: Startup, recording: Recording) -> None:
        self._startup = startup
        self._recording = recording
        self._processes = startup.config.rewriter.processes
        self._waiting = 0
        self._pool = self._new_pool()
        self.max_message = startup.config.rewriter.max_message

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, startup: Startup, engine: AsyncEngine) -> AsyncIterator[RewritingPool]:
        spool = ReceiptSpool(startup.config.data_dir / "spool" / "receipts")
        async with Recording.open(startup.config.database, engine, spool) as recording:
            pool = cls(startup, recording)
            await pool.warm()
            shipping = asyncio.create_task(spool.ship_for_ever(engine))
            try:
                yield pool
            finally:
                shipping.cancel()
                pool._pool.shutdown(cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # this process has a loop and threads: no fork from here
        return ProcessPoolExecutor(
            self._processes, mp_context=context, initializer=rewriting.begin, initargs=(self._startup,)
        )

    async def warm(self) -> None:
        """Start every process before the first mail."""
        body = (b"warm", "text/plain", Envelope())
        await asyncio.gather(*(self._work("body", *body) for _ in range(self._processes * 2)))

    async def rewrite_message(self, raw: bytes, envelope: Envelope) -> Outcome:
        return await self._recorded("rewrite", raw, "", envelope)

    async def restore_message(self, raw: bytes, envelope: Envelope) -> Outcome:
        return await self._recorded("restore", raw, "", envelope)

    async def rewrite_body(self, body: bytes, content_type: str, envelope: Envelope) -> Outcome:
        return await self._recorded("body", body, content_type, envelope)

    async def _recorded(self, verb: str, raw: bytes, content_type: str, envelope: Envelope) -> Outcome:
        work = await self._work(verb, raw, content_type, envelope)
        if work.record is not None:
            await self._recording.record(work.record)
        MESSAGES.labels(verb, "changed" if work.outcome.changed else "unchanged").inc()
        for row in work.outcome.receipt:
            URLS.labels(row.outcome, row.reason, row.kind).inc()
        return work.outcome

    async def _work(self, verb: str, raw: bytes, content_type: str, envelope: Envelope) -> rewriting.Work:
        """Raises Overloaded where too much is waiting, or where a process died over this very mail twice."""
        if self._waiting >= self._processes * WAITING_PER_PROCESS:
            raise Overloaded("too many mails are waiting to be rewritten; try again in a moment")
        self._waiting += 1
        try:
            for _attempt in (1, 2):
                pool = self._pool
                try:
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(pool, rewriting.run, verb, raw, content_type, envelope)
                except BrokenProcessPool:
                    log.error("rewriting_process_died", verb=verb, size=len(raw))
                    if pool is self._pool:
                        self._pool = self._new_pool()
        finally:
            self._waiting -= 1
        raise Overloaded("the rewriting process died; try again in a moment")
