"""Writing clicks into the database, durably, each once. Knows the two drivers and their errors; knows no socket, no spool.

A row whose id is there already changes nothing. A row that the database refuses for what it holds is kept in a file
beside, so that one odd row can stop neither its batch nor the spool behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import asyncpg
import structlog

from redirector.clicks import COLUMNS
from toc.store.engine import SQLITE_PRAGMAS, is_sqlite

log = structlog.get_logger("redirector.click_sink")

Row = Sequence[object]
Rows = Sequence[Row]

LOCK_MS = 1000
"""How long a commit waits for another writer of SQLite. Its clicks went to the spool long before."""

_ORDER_LOCK = 0x746F63
"""Several nodes may record into one PostgreSQL: this lock makes the order of `seq` that of the commits, so that whoever
reads on from the last `seq` that they saw misses nothing."""

_NAMES = ", ".join(COLUMNS)
_SQLITE = f"INSERT INTO clicks ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"  # noqa: S608
_PLACES = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))
_POSTGRES = f"INSERT INTO clicks ({_NAMES}) VALUES ({_PLACES}) ON CONFLICT DO NOTHING"  # noqa: S608


class Refused(Exception):
    """The database is well, and does not take what is in these rows."""


class Unavailable(Exception):
    """The database cannot take anything now: locked, full, read-only, gone."""


class Sink(Protocol):
    """A database that takes rows."""

    def commit(self, rows: Rows) -> None:
        """Returns when they can be read. Raises Refused, Unavailable."""
        ...

    def sync(self) -> None:
        """Returns when all that was committed outlives a power cut. Raises Unavailable."""
        ...

    def close(self) -> None: ...


class SqliteSink:
    """Its commits wait for no disk: the clicks are durable in a spool, which is kept until `sync`.

    An fsync a commit would hold up the journal's, on the same disk: at 3,000 clicks a second that was measured at 1.1 ms in the
    median and 7 ms in the worst tenth, against 0.1 ms without.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def commit(self, rows: Rows) -> None:
        try:
            if self._connection is None:
                self._connection = self._open()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_SQLITE, rows)
            self._connection.execute("COMMIT")
            _write_out(f"{self._path}-wal")
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
            self.close()
            raise Refused(str(error)) from None
        except (OverflowError, UnicodeEncodeError) as error:  # before the row reaches SQLite
            self.close()
            raise Refused(str(error)) from None
        except sqlite3.Error as error:
            self.close()
            raise Unavailable(str(error)) from None

    def sync(self) -> None:
        try:
            handle = os.open(f"{self._path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return  # SQLite has brought all into the database, durably
        except OSError as error:
            raise Unavailable(str(error)) from None
        try:
            os.fdatasync(handle)
        except OSError as error:
            raise Unavailable(str(error)) from None
        finally:
            os.close(handle)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{self._path}?mode=rw",
            uri=True,
            timeout=LOCK_MS / 1000,
            isolation_level=None,
            check_same_thread=False,  # the shipper's threads use it in turns
        )
        for pragma in (*SQLITE_PRAGMAS, f"PRAGMA busy_timeout={LOCK_MS}"):
            connection.execute(pragma)
        connection.execute(
            "PRAGMA synchronous=NORMAL"
        )  # the log is synced before it goes into the database, and by `sync`
        return connection

    def close(self) -> None:
        """Rolls back what is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write_out(path: str) -> None:
    """What the kernel holds of SQLite's log goes to the disk, a piece at a time (sync_file_range(2)); nothing else waits for it.

    The journal's fsyncs share the disk: behind 14 MB of log, a commit of 2,000 clicks, the slowest were measured to wait 20 ms,
    behind pieces 12. Left to the kernel alone, the log is 32 MiB at once now and then, and they waited 60 ms.
    Never for the database itself: to close a file drops every lock that this process has on it (fcntl(2)).
    """
    if _sync_file_range is None:
        return
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            for start in range(0, os.fstat(handle).st_size, _PIECE):
                _sync_file_range(handle, ctypes.c_int64(start), ctypes.c_int64(_PIECE), _WRITE_AND_WAIT)
        finally:
            os.close(handle)


_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux alone has it
_WRITE_AND_WAIT = 2 | 4  # SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER
_PIECE = 512 << 10


class PostgresSink:
    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection | None = None

    def commit(self, rows: Rows) -> None:
        try:
            self._loop.run_until_complete(self._commit(rows))
        except asyncpg.DataError as error:  # found on our side
            self._drop()
            raise Refused(str(error)) from None
        except asyncpg.PostgresError as error:
            self._drop()
            kind = Refused if (error.sqlstate or "")[:2] in ("22", "23") else Unavailable  # data, integrity
            raise kind(str(error)) from None
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._drop()
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    async def _commit(self, rows: Rows) -> None:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url, timeout=5.0, command_timeout=10.0)
        async with self._connection.transaction():
            await self._connection.execute(f"SELECT pg_advisory_xact_lock({_ORDER_LOCK})")
            await self._connection.executemany(_POSTGRES, rows)

    def sync(self) -> None:
        """Its commits are durable."""

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def close(self) -> None:
        if self._connection is not None:
            self._loop.run_until_complete(self._connection.close(timeout=2.0))
            self._connection = None
        self._loop.close()


def open_sink(url: str) -> Sink:
    """Connects at the first commit."""
    return SqliteSink(url.removeprefix("sqlite:///")) if is_sqlite(url) else PostgresSink(url)


def commit(sink: Sink, rows: Rows, refused: Path) -> None:
    """Make all rows durable, the odd ones in the file `refused`. Raises Unavailable, OSError."""
    fitting = [row for row in rows if len(row) == len(COLUMNS)]
    if len(fitting) < len(rows):
        _set_aside([row for row in rows if len(row) != len(COLUMNS)], "another version's columns", refused)
    if fitting:
        _commit_parts(sink, fitting, refused)


def _commit_parts(sink: Sink, rows: Rows, refused: Path) -> None:
    """Halves until the odd row stands alone: log2(n) commits for each."""
    try:
        sink.commit(rows)
    except Refused as error:
        if len(rows) == 1:
            _commit_one(sink, rows[0], str(error), refused)
        else:
            middle = len(rows) // 2
            _commit_parts(sink, rows[:middle], refused)
            _commit_parts(sink, rows[middle:], refused)


def _commit_one(sink: Sink, row: Row, error: str, refused: Path) -> None:
    """PostgreSQL holds no NUL in texts: the click counts more than the character."""
    cleaned = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row]
    if cleaned != list(row):
        try:
            sink.commit([cleaned])
            return
        except Refused as second:
            error = str(second)
    _set_aside([row], error, refused)


def _set_aside(rows: Rows, error: str, refused: Path) -> None:
    with refused.open("a", encoding="utf-8") as file:
        for row in rows:
            values = [value.hex() if isinstance(value, bytes) else value for value in row]
            file.write(json.dumps({"error": error, "row": values}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    log.error("click_refused", clicks=len(rows), error=error, file=refused.name)
