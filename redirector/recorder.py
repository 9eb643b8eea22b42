"""The recorder: the one process that writes clicks. Everything that has arrived becomes one commit (natural group commit).

A commit begins as soon as the last one has ended: under load it takes in many batches, at rest it waits for nobody. When
the database is well it also ships what the workers' spools hold.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from redirector.click_sink import Rows, Sink, Unavailable, commit, open_sink
from redirector.record import ACK, FRAME
from redirector.shipping import Shipper
from toc.config import Config

log = structlog.get_logger("redirector.recorder")

LOOK_SECONDS = 1.0
"""How often spools are looked at, and how long a database that failed is left alone."""

CALM_SECONDS = 0.01
"""A commit that took longer shows a busy database: spools then wait for their look, so as not to make more clicks late."""

MAX_READ = 1 << 20

Batch = tuple[socket.socket, int, list[tuple[object, ...]]]


class Recording:
    """The loop of the process. `refused`: the file for rows that the database will never take."""

    def __init__(self, sink: Sink, listener: socket.socket, spools: Path, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._listener = listener
        self._refused = spools / "refused.jsonl"
        self._shipper = Shipper(spools, sink, self._refused)
        self._clock = clock
        self._next_look = clock()
        self._waits = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._decode = msgspec.msgpack.Decoder(list[tuple[object, ...]]).decode
        self.stopping = False

    def run(self) -> None:
        """Until `stopping`, then on for what has arrived."""
        while not self.stopping:
            self._turn(0.0 if self._waits else 0.25)
        while self._turn(0.0):
            pass

    def _turn(self, wait: float) -> bool:
        """One commit of all that has arrived, and one part of the spools. False where nothing had arrived."""
        batches: list[Batch] = []
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._listener:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                batches += self._read(key.fileobj)
        started = self._clock()
        if batches:
            self._commit(batches)
        calm = self._clock() - started < CALM_SECONDS
        if (self._waits and calm) or self._clock() >= self._next_look:
            self._ship()
        return bool(batches)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._buffers[connection] = bytearray()
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> list[Batch]:
        """Whole batches that have arrived on one connection."""
        buffer = self._buffers[connection]
        try:
            data = connection.recv(MAX_READ)
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
            found.append((connection, number, self._decode(memoryview(buffer)[start : start + length])))
            place = start + length
        del buffer[:place]
        return found

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        connection.close()

    def _commit(self, batches: Sequence[Batch]) -> None:
        rows: Rows = [row for _, _, part in batches for row in part]
        committed = True
        try:
            commit(self._sink, rows, self._refused)
        except (Unavailable, OSError) as error:
            committed = False
            self._waits, self._next_look = False, self._clock() + LOOK_SECONDS
            log.error("commit_failed", reason="spooled", clicks=len(rows), error=str(error))
        for connection, number, _ in batches:
            if connection in self._buffers:
                try:
                    connection.sendall(ACK.pack(number, committed))
                except OSError:  # it is gone, or reads no more: its clicks are in its spool
                    self._drop(connection)

    def _ship(self) -> None:
        """One part. While something waits there is another each calm turn, and one each second in any case."""
        try:
            self._waits = self._shipper.step()
        except (Unavailable, OSError) as error:
            self._waits = False
            log.warning("spool_waits", error=str(error))
        self._next_look = self._clock() + LOOK_SECONDS

    def close(self) -> None:
        for connection in list(self._buffers):
            self._drop(connection)
        self._selector.close()
        self._sink.close()


def run(config: Config, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Record until SIGTERM, then what has arrived, and end."""
    spools = config.data_dir / "spool"
    spools.mkdir(parents=True, exist_ok=True)
    recording = Recording(open_sink(config.database), listener, spools, time.monotonic)

    def stop(_signal: int, _frame: object) -> None:
        recording.stopping = True

    signal.signal(signal.SIGTERM, stop)
    try:
        ready()
        recording.run()
    finally:
        recording.close()
