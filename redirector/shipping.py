"""The shipper: moves clicks from journal and spools into the database, a part at a time, in order, each once.

A process of its own beside the recorder, the only writer of clicks. A commit begins as soon as the last one has ended and
takes in all that has come meanwhile. Knows spool files and a sink. A file is emptied when its records outlive a power cut in the
database. How far it was shipped is remembered in memory only: after a crash its records are offered again, and their ids
are known already.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from redirector.click_sink import Sink, Unavailable, commit, open_sink
from redirector.journal import NAMES, TURN, Marks
from redirector.metrics import COMMIT_FAILURES, REFUSING
from redirector.spool import HEADER, empty, generation_of, read
from toc.config import Config
from toc.supervisor import die_with_parent, show_as

log = structlog.get_logger("redirector.shipping")

PART = 2000
"""Records of one commit at most: about 40 ms."""

NICE = 10
"""Clicks that wait for the recorder, on the same core maybe, come before those that wait for the database."""

GATHER_SECONDS = 0.1
"""How long clicks wait for others before a commit that is not full. Each click touches a dozen pages of indexes: SQLite
was measured to write 24 pages a click where each is committed by itself, 10 at thirty a commit, 5 at five hundred."""

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

    def step(self, *, tidy: bool = False) -> int:
        """Ship one part: how many records; 0 where nothing waits. Raises Unavailable, OSError.

        tidy: give the space of the journal back too, though it does not need it yet
        """
        return next(filter(None, (self._ship(path, tidy) for path in sorted(self._folder.glob(PATTERN), key=_age))), 0)

    def _ship(self, path: Path, tidy: bool) -> int:
        handle = os.open(path, os.O_RDWR)
        try:
            generation = generation_of(handle)
            if generation is None:
                return 0
            key = (os.fstat(handle).st_ino, generation)
            place = self._places.get(key, HEADER)
            part = list(islice(read(handle, generation, place), PART))
            if part:
                commit(self._sink, [self._decode(payload) for payload, _ in part], self._refused)
                self._places[key] = part[-1][1]
                self._marks.write(path, generation, part[-1][1])
                return len(part)
            if place == HEADER or not (tidy or place > TURN or path.name not in NAMES):
                return 0  # emptying costs the writer a wait
            self._sink.sync()
            if empty(handle, generation, place):
                del self._places[key]
                log.info("spool_shipped", spool=path.name, bytes=place - HEADER)
            return 0
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
    """The loop of the process. `bell`: readable when something has come, closed when nothing more will."""

    def __init__(self, shipper: Shipper, bell: socket.socket) -> None:
        self._shipper = shipper
        self._bell = bell
        self._well = True
        REFUSING.labels("clicks").set(0)

    def run(self) -> None:
        """Until the bell is closed, then on for all that lies there, if the database takes it."""
        tidy = open_ended = True
        while open_ended:
            moved = self._step(tidy=tidy)
            tidy = not moved
            if tidy:
                heard, open_ended = self._wait()
                tidy = not heard
            if open_ended and moved < PART and not tidy:
                time.sleep(GATHER_SECONDS)
        while self._step(tidy=True):
            pass

    def _step(self, *, tidy: bool) -> int:
        """One part. 0 where nothing waits, or the database does not take it now."""
        try:
            moved = self._shipper.step(tidy=tidy)
        except (Unavailable, OSError) as error:
            log.error("commit_failed", reason="spooled", error=str(error))
            COMMIT_FAILURES.labels("clicks").inc()
            self._is_well(False)
            return 0
        self._is_well(True)
        return moved

    def _is_well(self, well: bool) -> None:
        if well is not self._well:
            self._well = well
            REFUSING.labels("clicks").set(not well)

    def _wait(self) -> tuple[bool, bool]:
        """For the bell; where the database failed, for a while whatever rings. Whether it rang, whether it still may."""
        heard, _, _ = select.select([self._bell], [], [], LOOK_SECONDS)
        if heard and not self._well:
            time.sleep(LOOK_SECONDS)
        try:
            return bool(heard), not heard or self._bell.recv(65536) != b""
        except OSError:
            return True, False


class Companion:
    """The process, from the recorder's side. Forked before the recorder has threads or connections."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._start()

    def _start(self) -> None:
        mine, its = socket.socketpair()
        mine.setblocking(False)
        self._pid = os.fork()
        if self._pid == 0:
            mine.close()
            _become(self._config, its)
        its.close()
        self._bell = mine

    def ring(self) -> None:
        """Something has come."""
        try:
            self._bell.send(b"1")
        except BlockingIOError:  # it has not even heard the last ones
            pass
        except OSError:
            self.look()

    def look(self) -> None:
        """A new one where it has died."""
        if os.waitpid(self._pid, os.WNOHANG)[0]:
            log.error("shipper_restarted")
            self._bell.close()
            self._start()

    def end(self) -> None:
        """It ships what lies there and ends."""
        self._bell.close()
        os.waitpid(self._pid, 0)


def _become(config: Config, bell: socket.socket) -> None:
    """The process's whole life. Never returns."""
    code = 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the closed bell ends it, after the recorder's last click
    die_with_parent(signal.SIGKILL)  # the next recorder brings its own; two would do the work twice
    show_as("shipper")
    os.nice(NICE)
    try:
        spools = config.data_dir / "spool"
        sink = open_sink(config.database)
        Shipping(Shipper(spools, sink, spools / "refused.jsonl"), bell).run()
        sink.close()
        code = 0
    except Exception as error:
        log.exception("shipper_failed", error=str(error))
    finally:
        os._exit(code)
