"""The recorder: the one process that writes clicks. Everything that has arrived becomes one commit (natural group commit).

A commit begins as soon as the last one has ended: under load it takes in many batches, at rest it waits for nobody. When
the database is well it also ships what the workers' spools hold.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import selectors
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import asyncpg
import msgspec
import structlog

from redirector.clicks import COLUMNS
from redirector.record import ACK, FRAME
from redirector.spool import empty, read
from toc.config import Config
from toc.store.engine import SQLITE_PRAGMAS, is_sqlite

log = structlog.get_logger("redirector.recorder")

SHIP_SECONDS = 1.0
LOCK_MS = 2000
SPOOL_PATTERN = "clicks-*.spool"

Rows = Sequence[Sequence[object]]

_PLACES = ", ".join(f":{number}" for number in range(1, len(COLUMNS) + 1))
_SQLITE = f"INSERT INTO clicks ({', '.join(COLUMNS)}) VALUES ({_PLACES}) ON CONFLICT DO NOTHING"  # noqa: S608
_POSTGRES = _SQLITE.replace(":", "$")


class Sink(Protocol):
    """A database that takes rows. `commit` returns when they are durable; it raises OSError or the driver's error."""

    def commit(self, rows: Rows) -> None: ...


class SqliteSink:
    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def commit(self, rows: Rows) -> None:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    f"file:{self._path}?mode=rw", uri=True, timeout=LOCK_MS / 1000, isolation_level=None
                )
                for pragma in SQLITE_PRAGMAS:
                    self._connection.execute(pragma)
                self._connection.execute(f"PRAGMA busy_timeout={LOCK_MS}")
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_SQLITE, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection is not None:
                self._connection.close()  # rolls back
                self._connection = None
            raise


class PostgresSink:
    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection | None = None

    def commit(self, rows: Rows) -> None:
        self._loop.run_until_complete(self._commit(rows))

    async def _commit(self, rows: Rows) -> None:
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(self._url, timeout=5.0, command_timeout=10.0)
            async with self._connection.transaction():
                await self._connection.executemany(_POSTGRES, rows)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            raise


FAILURES = (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class Recording:
    """The loop of the process."""

    def __init__(self, sink: Sink, listener: socket.socket, spools: Path) -> None:
        self._sink = sink
        self._listener = listener
        self._spools = spools
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._decode = msgspec.msgpack.Decoder(list[tuple[object, ...]]).decode
        self._shipped = 0.0
        self.stopping = False

    def run(self) -> None:
        """Until `stopping`, then once more for what has arrived."""
        while not self.stopping:
            self._turn(0.25)
        self._turn(0.0)

    def _turn(self, wait: float) -> None:
        batches: list[tuple[socket.socket, int, list[tuple[object, ...]]]] = []
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._listener:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                batches += self._read(key.fileobj)
        if batches:
            self._commit(batches)
        if time.monotonic() - self._shipped > SHIP_SECONDS:
            self.ship()
            self._shipped = time.monotonic()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._buffers[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> list[tuple[socket.socket, int, list[tuple[object, ...]]]]:
        """Whole batches that have arrived on one connection."""
        buffer = self._buffers[connection]
        try:
            data = connection.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return []
        buffer += data
        found = []
        place = 0
        while len(buffer) - place >= FRAME.size:
            length, number = FRAME.unpack_from(buffer, place)
            if len(buffer) - place - FRAME.size < length:
                break
            start = place + FRAME.size
            found.append((connection, number, self._decode(bytes(buffer[start : start + length]))))
            place = start + length
        del buffer[:place]
        return found

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        connection.close()

    def _commit(self, batches: Sequence[tuple[socket.socket, int, Rows]]) -> None:
        rows = [row for _, _, part in batches for row in part]
        committed = True
        try:
            self._sink.commit(rows)
        except FAILURES as error:
            committed = False
            log.error("commit_failed", reason="spooled", clicks=len(rows), error=str(error))
        for connection, number, _ in batches:
            if connection in self._buffers:
                try:
                    connection.sendall(ACK.pack(number, committed))
                except OSError:
                    self._drop(connection)

    def ship(self) -> None:
        """Move what the spools hold into the database, file by file, in order; each record ends there once."""
        for path in sorted(self._spools.glob(SPOOL_PATTERN)):
            try:
                self._ship_file(path)
            except FAILURES as error:
                log.warning("spool_waits", spool=path.name, error=str(error))
                return

    def _ship_file(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            rows = [msgspec.msgpack.decode(payload) for payload in read(handle)]
            if rows:
                self._sink.commit(rows)
                empty(handle)
                log.info("spool_shipped", spool=path.name, clicks=len(rows))
        finally:
            os.close(handle)


def run(config: Config, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Record until SIGTERM."""
    url = config.database
    sink: Sink = SqliteSink(url.removeprefix("sqlite:///")) if is_sqlite(url) else PostgresSink(url)
    recording = Recording(sink, listener, config.data_dir / "spool")

    def stop(_signal: int, _frame: object) -> None:
        recording.stopping = True

    signal.signal(signal.SIGTERM, stop)
    recording.ship()
    ready()
    recording.run()
