"""The worker's side of the record: a click is durable when `record` returns. Knows the recorder's socket and the spool.

All clicks of one turn of the event loop travel as one batch. The recorder commits and acknowledges; what it has not
acknowledged in time goes to the spool instead. A click that reaches both is stored once, by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from redirector.spool import Spool, SpoolFull

log = structlog.get_logger("redirector.record")

FRAME = struct.Struct(">IQ")
"""Length of the rows' msgpack, number of the batch."""

ACK = struct.Struct(">Q?")
"""Number of the batch, and whether it was committed."""

RECONNECT_SECONDS = 0.2

Row = tuple[object, ...]


class Kept(StrEnum):
    """Where a record is durable now. `LOST`: nowhere."""

    DATABASE = "database"
    SPOOL = "spool"
    LOST = "lost"


@dataclass(slots=True)
class _Batch:
    done: asyncio.Future[Kept]
    rows: list[Row] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    spooling: bool = False


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
        self._spooling: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, or begin to try: without a recorder everything goes to the spool."""
        self._loop = asyncio.get_running_loop()
        await self._connect_once()

    async def record(self, row: Row) -> Kept:
        """Keep one row of `redirector.clicks.COLUMNS`; returns when it is durable."""
        batch = self._next
        if batch is None:
            batch = self._next = _Batch(self._loop.create_future())
            self._loop.call_soon(self._send)
        batch.rows.append(row)
        return await asyncio.shield(batch.done)

    async def close(self) -> None:
        """Wait for what is under way."""
        self._closing = True
        waiting = [batch.done for batch in self._sent.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=5.0)
        if self._spooling:
            await asyncio.wait(self._spooling, timeout=5.0)
        if self._transport is not None:
            self._transport.close()
        if self._connecting is not None:
            self._connecting.cancel()

    def _send(self) -> None:
        batch, self._next = self._next, None
        assert batch is not None
        if self._transport is None:
            self._to_spool(batch)
            return
        self._number += 1
        number = self._number
        self._sent[number] = batch
        payload = self._encode(batch.rows)
        self._transport.write(FRAME.pack(len(payload), number) + payload)
        batch.timer = self._loop.call_later(self._commit_seconds, self._late, number)

    def _late(self, number: int) -> None:
        batch = self._sent.get(number)
        if batch is not None and not batch.spooling:
            self._to_spool(batch)

    def _to_spool(self, batch: _Batch) -> None:
        batch.spooling = True
        task = self._loop.create_task(self._spool_batch(batch))
        self._spooling.add(task)
        task.add_done_callback(self._spooling.discard)

    async def _spool_batch(self, batch: _Batch) -> None:
        """In a thread: an fsync may take long, and other clicks go on."""
        kept = Kept.SPOOL
        try:
            await asyncio.to_thread(self._spool.append, [self._encode(row) for row in batch.rows])
        except (SpoolFull, OSError) as error:
            log.error("record_lost", reason="record_lost", clicks=len(batch.rows), error=str(error))
            kept = Kept.LOST
        if not batch.done.done():
            batch.done.set_result(kept)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one, by its methods only
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        whole = len(self._buffer) // ACK.size * ACK.size
        for number, committed in ACK.iter_unpack(self._buffer[:whole]):
            self._acknowledged(number, committed)
        self._buffer = self._buffer[whole:]

    def _acknowledged(self, number: int, committed: bool) -> None:
        batch = self._sent.pop(number, None)
        if batch is None:
            return
        if batch.timer is not None:
            batch.timer.cancel()
        if committed:
            if not batch.done.done():
                batch.done.set_result(Kept.DATABASE)
        elif not batch.spooling:
            self._to_spool(batch)

    def connection_lost(self, _error: Exception | None) -> None:
        """What was on its way goes to the spool; it may be in the database as well, and is then stored once."""
        self._transport = None
        sent, self._sent = self._sent, {}
        for batch in sent.values():
            if batch.timer is not None:
                batch.timer.cancel()
            if not batch.spooling:
                self._to_spool(batch)
        if not self._closing:
            self._connecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        while self._transport is None and not self._closing:
            await asyncio.sleep(RECONNECT_SECONDS)
            await self._connect_once()

    async def _connect_once(self) -> None:
        with contextlib.suppress(OSError):
            await self._loop.create_unix_connection(self._protocol, str(self._path))
        if self._transport is None and (self._connecting is None or self._connecting.done()) and not self._closing:
            self._connecting = self._loop.create_task(self._reconnect())

    def _protocol(self) -> Any:
        return self
