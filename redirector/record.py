"""The worker's side of the record: a click is durable when what `keep` gave is done. Knows the recorder's socket and the spool.

All clicks of one turn of the event loop travel as one batch. The recorder commits and acknowledges; what it has not
acknowledged in time goes to the spool instead. A click that reaches both is stored once, by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import structlog

from redirector.metrics import RECORDS
from redirector.spool import Spool, SpoolFull

log = structlog.get_logger("redirector.record")

FRAME = struct.Struct(">IQ")
"""Bytes of the rows (a msgpack array of arrays), number of the batch."""

ACK = struct.Struct(">Q?")
"""Number of the batch, and whether it was committed."""

_ARRAY = struct.Struct(">BI")
_ARRAY_32 = 0xDD
"""msgpack's array with a length of 32 bits: the rows, each encoded already, follow."""

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.4, 1.0)
"""Waits between attempts to reach the recorder; the last one stays."""

PIPELINED = 16
"""Rows after which a batch goes at once. The recorder's disk then works on them while the loop goes through the rest of what has
arrived; with one batch a turn each waited for the other, a sixth of a busy worker's time."""

CLOSE_SECONDS = 5.0

Row = tuple[object, ...]


class Kept(StrEnum):
    """Where a record is durable now. `LOST`: nowhere."""

    DATABASE = "database"
    SPOOL = "spool"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class _Batch:
    """Rows as msgpack, and who waits for each."""

    rows: list[bytes] = field(default_factory=list)
    waiting: list[Callable[[Kept], None]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    number: int = 0

    def done(self, kept: Kept) -> None:
        RECORDS.add((kept.value,), len(self.rows))
        for tell in self.waiting:
            try:
                tell(kept)
            except Exception:  # the others of the batch wait for their answers too
                log.exception("answer_failed")


class Recorder(asyncio.Protocol):
    """One per worker."""

    def __init__(self, path: Path, spool: Spool, commit_seconds: float) -> None:
        self._path = path
        self._spool = spool
        self._commit_seconds = commit_seconds
        self._encode = msgspec.msgpack.Encoder().encode
        self._transport: asyncio.WriteTransport | None = None
        self._next: _Batch | None = None
        self._sent: dict[int, _Batch] = {}
        self._number = 0
        self._buffer = b""
        self._closing = False
        self._to_spool: list[_Batch] = []
        self._spooling: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "spool")  # a spool belongs to one thread, and an fsync may take long
        self._connecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, or begin to try: without a recorder everything goes to the spool."""
        self._loop = asyncio.get_running_loop()
        await self._connect_once()
        self._reach()

    def keep(self, row: Row) -> asyncio.Future[Kept]:
        """Keep one row of `redirector.clicks.COLUMNS`; done when it is durable."""
        future: asyncio.Future[Kept] = self._loop.create_future()
        self.keep_then(row, partial(_settle, future))
        return future

    def keep_then(self, row: Row, tell: Callable[[Kept], None]) -> None:
        """The same; `tell` is called later, and must not raise."""
        encoded = self._encode(row)
        batch = self._next
        if batch is None:
            batch = self._next = _Batch()
            self._loop.call_soon(self._send)
        batch.rows.append(encoded)
        batch.waiting.append(tell)
        if len(batch.rows) >= PIPELINED:
            self._send()

    async def close(self) -> None:
        """Wait for what is under way."""
        self._closing = True
        if self._connecting is not None:
            self._connecting.cancel()
        waiting = []
        for batch in self._sent.values():
            waiting.append(self._loop.create_future())
            batch.waiting.append(partial(_settle, waiting[-1]))
        if waiting:
            await asyncio.wait(waiting, timeout=CLOSE_SECONDS)
        if self._spooling is not None:
            await asyncio.wait([self._spooling], timeout=CLOSE_SECONDS)
        if self._transport is not None:
            self._transport.close()
        self._thread.shutdown(wait=False)

    def _send(self) -> None:
        batch, self._next = self._next, None
        if batch is None:
            return  # it has gone already, full
        if self._transport is None:
            self._spool_batch(batch)
            return
        self._number += 1
        batch.number = self._number
        self._sent[batch.number] = batch
        size = _ARRAY.size + sum(map(len, batch.rows))
        head = FRAME.pack(size, batch.number) + _ARRAY.pack(_ARRAY_32, len(batch.rows))
        self._transport.write(head + b"".join(batch.rows))
        batch.timer = self._loop.call_later(self._commit_seconds, self._spool_batch, batch)

    def _spool_batch(self, batch: _Batch) -> None:
        """Its acknowledgement, should it come, is no longer waited for."""
        self._sent.pop(batch.number, None)
        if batch.timer is not None:
            batch.timer.cancel()
        self._to_spool.append(batch)
        if self._spooling is None:
            self._spooling = self._loop.create_task(self._spool_all())

    async def _spool_all(self) -> None:
        """All that waits, with one fsync; then what has come meanwhile."""
        while self._to_spool:
            batches, self._to_spool = self._to_spool, []
            rows = [row for batch in batches for row in batch.rows]
            kept = Kept.SPOOL
            try:
                await self._loop.run_in_executor(self._thread, self._spool.append, rows)
            except (SpoolFull, OSError) as error:
                log.error("record_lost", reason="record_lost", clicks=len(rows), error=str(error))
                kept = Kept.LOST
            for batch in batches:
                batch.done(kept)
        self._spooling = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one, by its methods only
        self._transport.set_write_buffer_limits(high=0)  # else uvloop writes at the end of a turn only
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        whole = len(self._buffer) // ACK.size * ACK.size
        for number, committed in ACK.iter_unpack(self._buffer[:whole]):
            self._acknowledged(number, committed)
        self._buffer = self._buffer[whole:]

    def _acknowledged(self, number: int, committed: bool) -> None:
        batch = self._sent.get(number)
        if batch is None:
            return
        if not committed:
            self._spool_batch(batch)
            return
        del self._sent[number]
        if batch.timer is not None:
            batch.timer.cancel()
        batch.done(Kept.DATABASE)

    def connection_lost(self, _error: Exception | None) -> None:
        """What was on its way goes to the spool; it may be in the database as well, and is then stored once."""
        self._transport = None
        for batch in list(self._sent.values()):
            self._spool_batch(batch)
        self._reach()

    def _reach(self) -> None:
        """One attempt at a time: two connections would each take the other's acknowledgements for its own."""
        trying = self._connecting is not None and not self._connecting.done()
        if self._transport is None and not self._closing and not trying:
            self._connecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        attempt = 0
        while self._transport is None and not self._closing:
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            await self._connect_once()
            attempt += 1

    async def _connect_once(self) -> None:
        with contextlib.suppress(OSError):
            await self._loop.create_unix_connection(lambda: self, str(self._path))


def _settle(future: asyncio.Future[Kept], kept: Kept) -> None:
    if not future.done():  # whoever waited may have given up
        future.set_result(kept)
