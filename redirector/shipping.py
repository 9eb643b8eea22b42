"""The shipper: moves clicks from journal and spools into the database, a part at a time, in order, each once.

A process of its own beside the recorder, the only writer of clicks. A commit begins as soon as the last one has ended and
takes in all that has come meanwhile. Knows spool files and a sink. A file is emptied when its records outlive a power cut in the
database. How far it was shipped is remembered in memory only: after a crash its records are offered again, and their ids
are known already.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from redirector.click_sink import Row, Sink, Unavailable, commit, open_sink
from redirector.clicks import COLUMNS
from redirector.journal import NAMES, TURN, Marks
from redirector.metrics import COMMIT_FAILURES, REFUSING
from redirector.spool import HEADER, empty, generation_of, read
from toc.config import Config
from toc.supervisor import die_with_parent, show_as

log = structlog.get_logger("redirector.shipping")

PART = 2000
"""Records of one commit at most: about 120 ms of work. Each commit takes up to twice as many as the last one, so that a
burst is moved in large ones."""

FIRST_PART = 100
HOLD_SECONDS = 0.25
"""A commit that took longer is followed by one of half its size: SQLite's other writers wait for it."""

NICE = 10
"""Clicks that wait for the recorder, on the same core maybe, come before those that wait for the database."""

PRESSING_SECONDS = 5.0
"""As long as clicks are no older than this when they are shipped, shipping gives way to everything else (sched(7),
SCHED_IDLE): whoever answers clicks gets a core that it has at once, not after its time slice. 16,300 clicks a second were
measured in place of 14,600, the slowest hundredth in 7 ms in place of 11. Then it competes: a machine that is always busy
would else leave it three thousandths of a core."""

FLOOD = 5000.0
"""Clicks a second above which shipping rests until they are `PRESSING_SECONDS` old. It writes 7 KB a click, and the journal's
fsyncs, on the same disk, wait behind that: without it the slowest hundredth of the clicks took 3.5 ms."""

MANY, PRESSING = 254, 255

GATHER_SECONDS = 0.1
"""How long clicks wait for others before a commit that is not full. Each click touches a dozen pages of indexes: SQLite
was measured to write 24 pages a click where each is committed by itself, 10 at thirty a commit, 5 at five hundred."""

LOOK_SECONDS = 1.0
"""How often spools are looked at, and how long a database that failed is left alone."""

PATTERN = "clicks-*.spool"
_TIME = COLUMNS.index("time")


class Shipper:
    """Ships every spool in a folder, those of workers that are no more too."""

    def __init__(self, folder: Path, sink: Sink, refused: Path) -> None:
        self._folder = folder
        self._sink = sink
        self._refused = refused
        self._places: dict[tuple[int, int], int] = {}  # (inode, generation) → shipped up to here
        self._marks = Marks()
        self.behind = 0.0
        """Seconds: how old the oldest click of the last part was when it was shipped."""
        self._decode = msgspec.msgpack.Decoder(tuple[object, ...]).decode

    def step(self, most: int = PART, *, tidy: bool = False) -> int:
        """Ship one part: how many records, `most` at most; 0 where nothing waits. Raises Unavailable, OSError.

        tidy: give the space of the journal back too, though it does not need it yet
        """
        return next(
            filter(None, (self._ship(path, most, tidy) for path in sorted(self._folder.glob(PATTERN), key=_age))), 0
        )

    def _ship(self, path: Path, most: int, tidy: bool) -> int:
        handle = os.open(path, os.O_RDWR)
        try:
            generation = generation_of(handle)
            if generation is None:
                return 0
            key = (os.fstat(handle).st_ino, generation)
            place = self._places.get(key, HEADER)
            part = list(islice(read(handle, generation, place), most))
            if part:
                rows = [self._decode(payload) for payload, _ in part]
                commit(self._sink, rows, self._refused)
                self.behind = _age_of(rows[0], time.time())
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


def _age_of(row: Row, now: float) -> float:
    """Seconds; 0 for a row of another version."""
    when = row[_TIME] if len(row) > _TIME else None
    return now - when / 1_000_000 if isinstance(when, int) else 0.0


def _age(path: Path) -> tuple[int, str]:
    """The older one of the journal's two files has the lower generation."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return generation_of(handle) or 0, path.name
    finally:
        os.close(handle)


class Bell:
    """The shipper's end of the socket by which the recorder tells it what it appended: a byte each time.

    The byte is the number of clicks, `MANY` at most, or `PRESSING` where the journal fills. Closed: nothing more will come.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._since = time.monotonic()
        self.is_open = True
        self.presses = False
        self.rate = 0.0
        """Clicks a second since it was heard before."""

    def wait(self, seconds: float) -> bool:
        """Whether it rings, or was closed, within that time."""
        return bool(select.select([self._end], [], [], seconds)[0])

    def hear(self) -> None:
        """Whatever it has told, without waiting."""
        told = b""
        if self.wait(0.0):
            try:
                told = self._end.recv(1 << 20)
            except OSError:
                told = b""
            self.is_open = bool(told)
        now = time.monotonic()
        self.rate = sum(told) / max(now - self._since, 0.001)
        self.presses = PRESSING in told
        self._since = now


class Shipping:
    """The loop of the process."""

    def __init__(self, shipper: Shipper, bell: Bell) -> None:
        self._shipper = shipper
        self._bell = bell
        self._well = True
        self._most = FIRST_PART
        self._giving_way = ThreadPoolExecutor(1, "giving-way", initializer=_give_way)
        REFUSING.labels("clicks").set(0)

    def run(self) -> None:
        """Until the bell is closed, then on for all that lies there, if the database takes it."""
        tidy = True
        while self._bell.is_open:
            most = self._most
            moved = self._step(tidy=tidy)
            heard = moved > 0 or self._wait()
            tidy = not heard
            if heard and moved < most:
                time.sleep(GATHER_SECONDS)
            self._bell.hear()
            self._rest()
        while self._step(tidy=True):
            pass

    def _rest(self) -> None:
        """As long as clicks flood in and can wait: neither core nor disk is taken from those who are answered."""
        start = time.monotonic() - self._shipper.behind
        while self._bell.is_open and may_rest(self._bell.rate, self._bell.presses, time.monotonic() - start):
            time.sleep(GATHER_SECONDS)
            self._bell.hear()

    def _step(self, *, tidy: bool) -> int:
        """One part. 0 where nothing waits, or the database does not take it now."""
        start = time.monotonic()
        try:
            moved = self._move(tidy)
        except (Unavailable, OSError) as error:
            log.error("commit_failed", reason="spooled", error=str(error))
            COMMIT_FAILURES.labels("clicks").inc()
            self._is_well(False)
            return 0
        self._is_well(True)
        self._most = _next_part(self._most, moved, time.monotonic() - start)
        return moved

    def _move(self, tidy: bool) -> int:
        pressed = self._bell.presses or self._shipper.behind > PRESSING_SECONDS
        if pressed or not self._bell.is_open:
            return self._shipper.step(self._most, tidy=tidy)
        return self._giving_way.submit(self._shipper.step, self._most, tidy=tidy).result()

    def _is_well(self, well: bool) -> None:
        if well is not self._well:
            self._well = well
            REFUSING.labels("clicks").set(not well)

    def _wait(self) -> bool:
        """For the bell; where the database failed, for a while whatever rings. Whether it rang."""
        heard = self._bell.wait(LOOK_SECONDS)
        if heard and not self._well:
            time.sleep(LOOK_SECONDS)
        return heard


def may_rest(rate: float, presses: bool, behind: float) -> bool:
    """rate: clicks a second that come; presses: the journal fills; behind: seconds that the oldest click has waited."""
    return rate > FLOOD and not presses and behind < PRESSING_SECONDS


def _next_part(most: int, moved: int, seconds: float) -> int:
    """How many the next commit may take, after one of `moved` records that took so long."""
    wished = most // 2 if seconds > HOLD_SECONDS else 2 * moved
    return min(max(wished, FIRST_PART), PART)


def _give_way() -> None:
    """The calling thread runs where nobody else wants to. Not taken back: that needs a right that the service has not."""
    with contextlib.suppress(OSError, AttributeError):  # not every system has it, nor gives it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


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

    def ring(self, clicks: int, *, presses: bool) -> None:
        """So many have come. presses: there is little room for more."""
        try:
            self._bell.send(bytes([PRESSING if presses else min(clicks, MANY)]))
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
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(NICE)
    try:
        spools = config.data_dir / "spool"
        sink = open_sink(config.database)
        Shipping(Shipper(spools, sink, spools / "refused.jsonl"), Bell(bell)).run()
        sink.close()
        code = 0
    except Exception as error:
        log.exception("shipper_failed", error=str(error))
    finally:
        os._exit(code)
