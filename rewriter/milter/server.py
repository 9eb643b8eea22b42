"""The milter's socket: reads and writes, runs the work, watches the clock. The only I/O of the milter.

Knows sessions and tasks. What is done with a mail is a function that it is handed, so it knows no key and no rewriter.
Whatever goes wrong, the mail server gets a temporary failure or a closed connection, never the mail as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import Counter, Histogram

from rewriter.milter.protocol import MilterError
from rewriter.milter.session import (
    Cancelled,
    Disposition,
    End,
    Envelope,
    Event,
    Job,
    Reply,
    Send,
    Session,
    SessionLimits,
)

log = structlog.get_logger("rewriter.milter")

REPLIES = Counter("toc_milter_replies_total", "Mails by what the mail server was told", ["disposition", "changed"])
SECONDS = Histogram("toc_milter_seconds", "Time for one mail, waiting for its turn included")

Work = Callable[[Envelope, bytes], Awaitable[Reply]]
"""What is done with a mail: its envelope and bytes in, what shall become of it out."""

READ = 1 << 18
UNIX = "unix:"
FAILED = Reply(disposition=Disposition.TEMPFAIL, reason="the links of this mail could not be protected now")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and numbers.

    work_seconds:     for one mail; then the mail server is told to try again
    progress_seconds: between two signs of life; below Postfix's milter_content_timeout (300 s) by far
    idle_seconds:     without a byte, where no work runs; Postfix waits for its client up to smtpd_timeout (300 s)
    concurrency:      mails in work at once; others wait, and are told so by signs of life
    sessions:         connections at once; more are closed at once
    """

    session: SessionLimits = field(default_factory=SessionLimits)
    work_seconds: float = 120.0
    progress_seconds: float = 10.0
    idle_seconds: float = 3600.0
    concurrency: int = 64
    sessions: int = 1000


class Server:
    """A listening milter. `work` may be replaced at any time: the next mail takes the new one."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self.work = work
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    @property
    def address(self) -> str:
        """Where it listens, in the words of `serve`; a port that was 0 is the real one."""
        if self._path is not None:
            return f"{UNIX}{self._path}"
        assert self._server is not None, "serve() has been called"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def listen(self, where: str) -> None:
        """Start to listen on ``HOST:PORT`` or ``unix:/PATH``. A socket file that nobody listens on is replaced."""
        if where.startswith(UNIX):
            self._path = Path(where.removeprefix(UNIX))
            self._server = await asyncio.start_unix_server(self._accept, self._path, limit=READ)
            self._path.chmod(0o660)  # the mail server reaches it by its group
            return
        host, _, port = where.rpartition(":")
        self._server = await asyncio.start_server(self._accept, host.strip("[]"), int(port), limit=READ, backlog=512)

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening. Sessions go on for `grace` seconds at most, those without a mail end as soon as they may."""
        assert self._server is not None, "serve() has been called"
        self._server.close()
        until = time.monotonic() + grace
        while self._tasks and time.monotonic() < until:
            for connection in self._connections:
                connection.end_if_idle()
            await asyncio.wait(self._tasks, timeout=0.1)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= self._limits.sessions:
            log.warning("milter_sessions_full", sessions=len(self._connections))
            writer.close()
            return
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        self._tasks.add(task)
        try:
            await connection.converse()
        except MilterError as error:
            log.warning("milter_protocol", error=str(error))
        except (OSError, EOFError, TimeoutError) as error:
            log.info("milter_connection_lost", error=type(error).__name__)
        except asyncio.CancelledError:
            pass  # close() is over, and there is nothing left to do for this task
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)
            await connection.close()

    async def do(self, job: Job) -> Reply:
        """The reply to a job; a failed or late work is a temporary failure."""
        with SECONDS.time():
            reply = await self._do(job)
        REPLIES.labels(reply.disposition.name.lower(), "no" if reply.message is None else "yes").inc()
        return reply

    async def _do(self, job: Job) -> Reply:
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.work_seconds):
                    return await self.work(job.envelope, job.raw)
            except TimeoutError:
                log.error("milter_work_late", queue_id=job.envelope.queue_id, size=len(job.raw))
            except Exception as error:  # whatever it is: this mail waits, the others go on
                log.error("milter_work_failed", queue_id=job.envelope.queue_id, exc_info=error)
            return FAILED

    @property
    def limits(self) -> Limits:
        return self._limits


class _Connection:
    """One connection: a session, and at most one task that works for it."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._session = Session(server.limits.session)
        found = writer.get_extra_info("socket")
        self._tcp = found if found is not None and found.family != socket.AF_UNIX else None
        self._working: asyncio.Task[None] | None = None

    async def converse(self) -> None:
        """Read and answer until one side has enough."""
        while data := await self._read():
            for event in self._session.receive(data):
                if not self._handle(event):
                    return
            await self._writer.drain()

    def end_if_idle(self) -> None:
        """Between two mails the connection may end: nothing is lost by it."""
        if not self._session.in_mail:
            self._reader.feed_eof()

    async def close(self) -> None:
        self._stop_work()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    async def _read(self) -> bytes:
        """What arrives next, nothing at the end. While work runs, the wait has no limit but the work's own."""
        while True:
            self._acknowledge_at_once()
            try:
                async with asyncio.timeout(self._server.limits.idle_seconds):
                    return await self._reader.read(READ)
            except TimeoutError:
                if self._working is None:
                    raise

    def _acknowledge_at_once(self) -> None:
        """Postfix writes several small packets in a row that get no reply, and Nagle's rule holds each back until the one before
        is acknowledged, which Linux delays by 40 ms. The option holds for a while only, so it is set before each read."""
        if self._tcp is not None and hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _handle(self, event: Event) -> bool:
        match event:
            case Send():
                self._writer.write(event.data)
            case Job():
                self._working = asyncio.create_task(self._answer(event))
            case Cancelled():
                self._stop_work()
            case End():
                return False
        return True

    def _stop_work(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None

    async def _answer(self, job: Job) -> None:
        """Work, say now and then that we are at it, and write the reply."""
        work = asyncio.create_task(self._server.do(job))
        try:
            while not (await asyncio.wait({work}, timeout=self._server.limits.progress_seconds))[0]:
                await self._write(iter((self._session.progress(),)))
            await self._write(self._session.answer(job, work.result()))
            self._working = None
        except OSError:
            self._reader.feed_eof()  # the reading side ends the connection
        finally:
            work.cancel()

    async def _write(self, packets: Iterator[bytes]) -> None:
        for data in packets:
            self._writer.write(data)
            await self._writer.drain()


async def serve(listen: str, work: Work, limits: Limits | None = None) -> Server:
    """Listen on ``HOST:PORT`` or ``unix:/PATH`` and hand every mail to `work`. Raises OSError, ValueError (no port)."""
    server = Server(work, limits or Limits())
    await server.listen(listen)
    return server
