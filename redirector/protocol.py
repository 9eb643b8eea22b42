"""uvicorn's HTTP protocol with the two limits that it lacks, and two short ways.

The limits: time and size of a request's head. A slow or endless head is cut before it costs anything. The short ways: an
ASGI extension, ``toc.answer``, by which an application hands over status, header block and body in one message; and
`Doorkeeper`, which is shown each plain request before it is parsed. Building and checking a header at a time costs more
than a click, and so do a task and its messages. Another extension, ``toc.past_capacity``, marks a request for which the
doorkeeper has no room and which is not plain. Knows nothing of links.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from redirector.headers import PLAIN, header_lines
from redirector.plain import Plain, Reader

log = structlog.get_logger("redirector.protocol")

HEAD_SECONDS = 10.0
MAX_HEAD = 65_536
"""Bytes; the longest link is about 11 KiB, and some clients send cookies of 32 KiB for other sites of the domain."""

LINGER_SECONDS = 1.0
"""How long an idle connection stays open when the server ends: closing it at once would cut off a request under way."""

PORTION_SECONDS, REFUSING_SECONDS = 0.006, 0.004
"""How long the loop works on what has arrived, and then on refusals, before it looks what else has come. Whoever comes in a
flood meets four such turns: accepted, heard, on record, answered."""

ANSWER = "toc.answer"
PAST_CAPACITY = "toc.past_capacity"
_EXTENSIONS: dict[str, dict[object, object]] = {ANSWER: {}}
_EXTENSIONS_PAST_CAPACITY: dict[str, dict[object, object]] = {ANSWER: {}, PAST_CAPACITY: {}}


_REFUSAL = header_lines((b"connection", b"close"), (b"content-length", b"0"), *PLAIN) + b"\r\n"

Done = Callable[[int, bytes, bytes], None]
"""Takes an answer: status, header lines with their CRLF, body."""


class Doorkeeper(Protocol):
    """Sees plain requests (`redirector.plain`) before they are parsed."""

    def has_room(self, waiting: int, *, newcomer: bool) -> bool:
        """Whether one more may come in where `waiting` are let in already and not begun.

        newcomer: it is the first of its connection
        """

    def refusal(self, request: Plain) -> bytes:
        """The whole answer to a request that may not."""

    def begin(self, request: Plain, peer: str, done: Done) -> bool:
        """Whether it was taken in hand: `done` is then called once, later. False: it goes the ordinary way."""


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is not complete in `HEAD_SECONDS` or grows over `MAX_HEAD` bytes.

    With a `Doorkeeper` (see `guarded`) a plain request past capacity is refused before it is parsed: a flood then costs
    the clicks in work next to nothing. Everything else past capacity is the application's to refuse.
    """

    head_seconds = HEAD_SECONDS
    doorkeeper: Doorkeeper | None = None
    arrived: _Arrived
    reader: Reader
    _head_timer: asyncio.TimerHandle | None = None
    _head_size = 0
    _in_head = True
    _last = b""
    _ending = False
    _between = True
    _held: bytes | None = None
    """While the doorkeeper has a request in hand: what has come after it."""
    _idle_since = 0.0
    _is_turned_away = False
    is_new = True
    """Nothing was asked on this connection yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        self._held = None
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that has sent all may still read: what it asked for is answered, then the connection ends."""
        under_way = self._between and self.cycle is not None and not self.cycle.response_complete
        if self.scheme == "https" or not (under_way or self._held is not None):
            return None  # TLS knows no half-closed connection
        self.shutdown()
        return True

    def data_received(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
            self.flow.pause_reading()
            return
        if self.doorkeeper is None or not self._is_alone():
            self._parse(data)
            return
        self._held = b""
        self.arrived.put(self, data)

    def take(self, data: bytes) -> None:
        """What has arrived on an idle connection."""
        if self._held is None:
            return  # the connection was lost since
        request = self._plain(data)
        peer = self.client[0] if self.client else ""
        if request is not None and self._keeper.begin(request, peer, self._answer):
            self._end_timer()
        else:
            self._let_go(data)

    def turn_away(self, data: bytes) -> None:
        """The same, past capacity."""
        if self._held is None:
            return
        request = self._plain(data)
        if request is not None:
            self._finish(self._keeper.refusal(request))
            return
        self._is_turned_away = True  # the application refuses it
        self._let_go(data)
        self._is_turned_away = False

    @property
    def _keeper(self) -> Doorkeeper:
        assert self.doorkeeper is not None
        return self.doorkeeper

    def _plain(self, data: bytes) -> Plain | None:
        return self.reader.read(data) if not self._ending and len(data) <= MAX_HEAD else None

    def _let_go(self, data: bytes) -> None:
        held, self._held = self._held, None
        if held:
            data += held
            self.flow.resume_reading()
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """The ordinary way."""
        if self._in_head:
            if self._head_size + len(data) > MAX_HEAD and not self._head_ends_in_time(data):
                self._refuse(b"431 Request Header Fields Too Large")
                return
            self._head_size += len(data)
            self._last = data[-3:]
        super().data_received(data)
        # Most heads come whole and need no timer.
        if self._head_timer is None and (self._in_head or self._is_forgotten()):
            self._await_head()

    def _is_forgotten(self) -> bool:
        """No answer is due and no timer runs: what came was no request, as an empty line or the rest of a body."""
        idle = self.cycle is None or self.cycle.response_complete
        return idle and self.timeout_keep_alive_task is None and not self.transport.is_closing()

    def _is_alone(self) -> bool:
        """Whether the connection waits for nothing: no request is under way, and no answer."""
        idle = self.cycle is None or self.cycle.response_complete
        return idle and self._between and not self._ending and not self.flow.write_paused

    def _answer(self, status: int, head: bytes, body: bytes) -> None:
        """To the request that the doorkeeper had in hand."""
        if self._held is not None:
            self._finish(_whole(self.server_state.default_headers, status, head, body, last=self._ending))

    def _finish(self, answer: bytes) -> None:
        held, self._held = self._held, None
        if self.transport.is_closing():
            return
        self.server_state.total_requests += 1
        self.transport.write(answer)
        if self._ending:
            self.transport.close()
            return
        self._stay_idle()
        if held:
            self.flow.resume_reading()
            self.data_received(held)

    def _stay_idle(self) -> None:
        """As after an answer of the ordinary road. One timer serves many answers: it looks itself when the last one was."""
        loop: Any = self.loop
        self._head_size = 0
        self._idle_since = loop.time()
        self._end_timer()
        if self.timeout_keep_alive_task is None:
            self._close_when_idle(self.timeout_keep_alive)

    def _close_when_idle(self, seconds: float) -> None:
        loop: Any = self.loop
        self.timeout_keep_alive_task = loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        loop: Any = self.loop
        rest = self._idle_since + self.timeout_keep_alive - loop.time()
        if self._held is not None:
            self._close_when_idle(self.timeout_keep_alive)
        elif rest > 0:
            self._close_when_idle(rest)
        else:
            super().timeout_keep_alive_handler()

    def _head_ends_in_time(self, data: bytes) -> bool:
        """Whether what exceeds the limit is body already; the end of the head may lie across two reads."""
        end = (self._last + data).find(b"\r\n\r\n")
        return end >= 0 and self._head_size - len(self._last) + end <= MAX_HEAD

    def on_message_begin(self) -> None:
        self._in_head = True
        self._between = False
        super().on_message_begin()
        self.scope["extensions"] = _EXTENSIONS_PAST_CAPACITY if self._is_turned_away else _EXTENSIONS

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_size = 0
        self._last = b""
        self._end_timer()
        scope, version = self.scope, self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        self._take_url()
        before = self.cycle
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self._ending,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def shutdown(self) -> None:
        """The server ends: what was begun is finished, and a request that is on its way already is still answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        self._ending = True
        self.loop.call_later(LINGER_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._held is None and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _take_url(self) -> None:
        """Raises what makes the parser answer 400, where the target of the request is none."""
        raw, query = self.url, b""
        if raw[:1] == b"/" and b"#" not in raw:
            raw, _, query = raw.partition(b"?")
        else:  # absolute form, as to a proxy, or nonsense
            parsed = httptools.parse_url(raw)
            raw, query = parsed.path or b"/", parsed.query or b""
        path = raw.decode("ascii")
        self.scope["raw_path"] = raw
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["query_string"] = query

    def _await_head(self) -> None:
        loop: Any = self.loop
        self._head_timer = loop.call_later(self.head_seconds, self._refuse, b"408 Request Timeout")

    def _end_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes) -> None:
        self._end_timer()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + _REFUSAL)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """To what is no request. uvicorn's own answer lacks our header lines."""
        self._refuse(b"400 Bad Request")


_Waiting = deque[tuple[LimitedProtocol, bytes]]


class _Arrived:
    """What has come on connections that were idle: taken one after another, the oldest first, without a system call in
    between, as code and its branches then stay in the processor's caches.

    Under a flood that would take long, and whoever connects meanwhile would not even be accepted: so in portions, those that
    are let in before those that are turned away.
    """

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper
        self._let_in: _Waiting = deque()
        self._too_many: _Waiting = deque()
        self._is_due = False

    def put(self, protocol: LimitedProtocol, data: bytes) -> None:
        room = self._doorkeeper.has_room(len(self._let_in), newcomer=protocol.is_new)
        protocol.is_new = False
        (self._let_in if room else self._too_many).append((protocol, data))
        if not self._is_due:
            self._is_due = True
            protocol.loop.call_soon(self._work, protocol.loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        _portion(self._let_in, LimitedProtocol.take, PORTION_SECONDS)
        _portion(self._too_many, LimitedProtocol.turn_away, REFUSING_SECONDS)
        self._is_due = bool(self._let_in or self._too_many)
        if self._is_due:
            loop.call_soon(self._work, loop)


def _portion(waiting: _Waiting, take: Callable[[LimitedProtocol, bytes], None], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while waiting and time.perf_counter() < end:
        protocol, data = waiting.popleft()
        try:
            take(protocol, data)
        except Exception:  # it is its own fault alone
            log.exception("connection_failed")
            protocol.transport.abort()


def guarded(doorkeeper: Doorkeeper) -> type[LimitedProtocol]:
    """The protocol of a listener with a doorkeeper."""
    own = {"doorkeeper": doorkeeper, "arrived": _Arrived(doorkeeper), "reader": Reader()}
    return type("GuardedProtocol", (LimitedProtocol,), own)


def _whole(more: list[tuple[bytes, bytes]], status: int, head: bytes, body: bytes, *, last: bool) -> bytes:
    """An answer. `more`: the server's own headers; last: the connection ends with it."""
    lines = [STATUS_LINE[status]]
    for name, value in more:
        lines += (name, b": ", value, b"\r\n")
    lines += (head, b"connection: close\r\n\r\n" if last else b"\r\n", body)
    return b"".join(lines)


class Cycle(RequestResponseCycle):
    """One request and its answer, with the extension."""

    async def send(self, message: Any) -> None:
        """``toc.answer``: `status`; `head`, header lines with CRLF, content-length among them; `body`, empty for HEAD."""
        if message["type"] != ANSWER:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        assert not self.response_started
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        status, head, body = message["status"], message["head"], message["body"]
        self.transport.write(_whole(self.default_headers, status, head, body, last=not self.keep_alive))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
