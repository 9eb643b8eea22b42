"""The recorder: takes the clicks of all workers. What has arrived becomes one append to its journal, and is acknowledged.

An append begins as soon as the last one has ended: under load it takes in many batches, at rest it waits for nobody. The
shipper (`redirector.shipping`), another process, brings the journal into the database; nothing there can hold this one up.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from redirector.journal import Journal
from redirector.record import ACK, FRAME
from redirector.shipping import Companion
from redirector.spool import SpoolFull
from toc.config import Config

log = structlog.get_logger("redirector.recorder")

MAX_READ = 1 << 16

PRESSING_SHARE, SLOWING_SHARE = 0.5, 0.75
"""Of the journal's file. From the first on the shipper rests no more. Beyond the second each append waits, the longer the
fuller the file is: more clicks come than the database takes, and they slow down, or are refused (`[clicks] capacity`),
before there is no room for their record."""

Batch = tuple[socket.socket, int, list[bytes]]


class Recording:
    """The loop of the process."""

    def __init__(self, journal: Journal, listener: socket.socket, shipper: Companion, *, longest_wait: float) -> None:
        self._journal = journal
        self._longest_wait = longest_wait
        self._listener = listener
        self._shipper = shipper
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._decode = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
        self.stopping = False

    def run(self) -> None:
        """Until `stopping`, then on for what has arrived."""
        while not self.stopping:
            self._turn(0.25)
        while self._turn(0.0):
            pass

    def _turn(self, wait: float) -> bool:
        """One append of all that has arrived. False where nothing had."""
        batches: list[Batch] = []
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._listener:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                batches += self._read(key.fileobj)
        if batches:
            self._keep(batches)
        else:
            self._shipper.look()
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
            rows = self._decode(bytes(memoryview(buffer)[start : start + length]))
            found.append((connection, number, [bytes(row) for row in rows]))
            place = start + length
        del buffer[:place]
        return found

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        connection.close()

    def _keep(self, batches: Sequence[Batch]) -> None:
        rows = [row for _, _, part in batches for row in part]
        wait = slowing(self._journal.share, self._longest_wait)
        if wait:
            time.sleep(wait)
        kept = True
        try:
            self._journal.append(rows)
        except (SpoolFull, OSError) as error:
            kept = False
            log.error("journal_failed", reason="spooled", clicks=len(rows), error=str(error))
        for connection, number, _ in batches:
            if connection in self._buffers:
                try:
                    connection.sendall(ACK.pack(number, kept))
                except OSError:  # it is gone, or reads no more: its clicks are in its spool
                    self._drop(connection)
        self._shipper.ring(len(rows), presses=self._journal.share > PRESSING_SHARE)

    def close(self) -> None:
        for connection in list(self._buffers):
            self._drop(connection)
        self._selector.close()
        self._journal.close()


def slowing(share: float, longest: float) -> float:
    """Seconds that an append waits where this share of the file is used."""
    return max(share - SLOWING_SHARE, 0.0) / (1.0 - SLOWING_SHARE) * longest


def run(config: Config, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Record until SIGTERM, then what has arrived, and end when it is shipped."""
    spools = config.data_dir / "spool"
    spools.mkdir(parents=True, exist_ok=True)
    shipper = Companion(config)
    journal = Journal(spools, config.spool.megabytes << 20)
    # Shorter than what a worker waits before it takes a click to its own spool, which is smaller.
    recording = Recording(journal, listener, shipper, longest_wait=config.spool.commit_ms / 1000 * 0.7)

    def stop(_signal: int, _frame: object) -> None:
        recording.stopping = True

    signal.signal(signal.SIGTERM, stop)
    try:
        ready()
        recording.run()
    finally:
        recording.close()
        shipper.end()
