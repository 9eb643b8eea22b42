"""The shipper: moves clicks from journal and spools into the database, a part at a time, in order, each once.

A process of its own, the only writer of clicks. A commit begins as soon as the last one has ended and takes in all that
has come meanwhile. Knows spool files and a sink. How far a file was shipped is remembered in memory
only: after a crash its records are offered again, and their ids are known already.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from redirector.click_sink import Sink, Unavailable, commit, open_sink
from redirector.journal import NAMES, TURN, Marks
from redirector.spool import HEADER, empty, generation_of, read
from toc.config import Config

log = structlog.get_logger("redirector.shipping")

PART = 2000
"""Records of one commit at most: about 40 ms."""

LOOK_SECONDS = 1.0
"""How often spools are looked at, and how long a database that failed is left alone."""

PATTERN = "clicks-*.spool"


class Shipper:
    """Ships every spool in a folder, those of workers that are no more too."""

    def __init__(self, folder: Path, sink: Sink, refused: Path) -> None:
        self._folder = folder
        self._sink = sink
        self._refused = refused
        self._places: dict[tuple[int, int], int] = {}  # (inode, generation) → shipped up to here
        self._marks = Marks()
        self._decode = msgspec.msgpack.Decoder(tuple[object, ...]).decode

    def step(self, *, tidy: bool = False) -> bool:
        """Ship one part. False where nothing waits. Raises Unavailable, OSError.

        tidy: give the space of the journal back too, though it does not need it yet
        """
        return any(self._ship(path, tidy) for path in sorted(self._folder.glob(PATTERN), key=_age))

    def _ship(self, path: Path, tidy: bool) -> bool:
        handle = os.open(path, os.O_RDWR)
        try:
            generation = generation_of(handle)
            if generation is None:
                return False
            key = (os.fstat(handle).st_ino, generation)
            place = self._places.get(key, HEADER)
            part = list(islice(read(handle, generation, place), PART))
            if part:
                commit(self._sink, [self._decode(payload) for payload, _ in part], self._refused)
                self._places[key] = part[-1][1]
                self._marks.write(path, generation, part[-1][1])
                return True
            if place == HEADER or not (tidy or place > TURN or path.name not in NAMES):
                return False  # emptying costs the writer a wait
            if empty(handle, generation, place):
                del self._places[key]
                log.info("spool_shipped", spool=path.name, bytes=place - HEADER)
            return True
        finally:
            os.close(handle)


def _age(path: Path) -> tuple[int, str]:
    """The older one of the journal's two files has the lower generation."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return generation_of(handle) or 0, path.name
    finally:
        os.close(handle)


class Shipping:
    """The loop of the process. `bell`: readable when something has come."""

    def __init__(self, shipper: Shipper, bell: socket.socket) -> None:
        self._shipper = shipper
        self._bell = bell
        self._well = True
        self.stopping = False

    def run(self) -> None:
        """Until `stopping`, then on for all that lies there, if the database takes it."""
        tidy = True
        while not self.stopping:
            tidy = not self._step(tidy=tidy) and not self._wait()
        while self._step(tidy=True):
            pass

    def _step(self, *, tidy: bool) -> bool:
        """One part. False where nothing waits, or the database does not take it now."""
        try:
            moved = self._shipper.step(tidy=tidy)
        except (Unavailable, OSError) as error:
            log.error("commit_failed", reason="spooled", error=str(error))
            self._well = False
            return False
        self._well = True
        return moved

    def _wait(self) -> bool:
        """For the bell; where the database failed, for a while whatever rings. Whether it rang."""
        heard, _, _ = select.select([self._bell] if self._well else [], [], [], LOOK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass
        return bool(heard)


def run(config: Config, bell: socket.socket, ready: Callable[[], None]) -> None:
    """Ship until SIGTERM, then what lies there, and end."""
    spools = config.data_dir / "spool"
    spools.mkdir(parents=True, exist_ok=True)
    bell.setblocking(False)
    sink = open_sink(config.database)
    shipping = Shipping(Shipper(spools, sink, spools / "refused.jsonl"), bell)

    def stop(_signal: int, _frame: object) -> None:
        shipping.stopping = True

    signal.signal(signal.SIGTERM, stop)
    try:
        ready()
        shipping.run()
    finally:
        sink.close()
