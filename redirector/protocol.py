"""uvicorn's HTTP protocol with the two limits that it lacks, and a short way for an answer that is whole.

The limits: time and size of a request's head. A slow or endless head is cut before it costs anything. The short way: an
ASGI extension, ``toc.answer``, by which an application hands over status, header block and body in one message; building
and checking a header at a time costs more than a click. Knows nothing of links.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 10.0
MAX_HEAD = 65_536
"""Bytes; the longest link is about 11 KiB, and some clients send cookies of 32 KiB for other sites of the domain."""

LINGER_SECONDS = 1.0
"""How long an idle connection stays open when the server ends: closing it at once would cut off a request under way."""

# What a request must not have in order to be refused unparsed: a body, of whatever spelling, or a wish about the connection.
_NOT_PLAIN = re.compile(rb"content-length|transfer-encoding|connection:[ \t]*close|upgrade|expect", re.IGNORECASE)

ANSWER = "toc.answer"
_EXTENSIONS: dict[str, dict[object, object]] = {ANSWER: {}}


@dataclass(frozen=True, slots=True)
class Admission:
    """capacity: requests in work at once; refusal: the whole answer, head and body, to the raw head of a plain GET."""

    capacity: int
    refusal: Callable[[bytes], bytes]


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is not complete in `HEAD_SECONDS` or grows over `MAX_HEAD` bytes.

    With an `Admission` (see `limited`) a plain GET past capacity is refused before it is parsed: a flood of requests then
    costs the clicks in work next to nothing. Everything else past capacity is the application's to refuse.
    """

    admission: Admission | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _head_size = 0
    _in_head = True
    _last = b""
    _ending = False
    _between = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._head_size + len(data) > MAX_HEAD and not self._head_ends_in_time(data):
                self._refuse(b"431 Request Header Fields Too Large")
                return
            self._head_size += len(data)
            self._last = data[-3:]
        if self.admission is not None and len(self.tasks) >= self.admission.capacity and self._is_plain(data):
            self._stay_idle()
            self.transport.write(self.admission.refusal(data))
            return
        super().data_received(data)
        if self._in_head and self._head_timer is None:  # most heads come in one piece and need no timer
            self._await_head()

    def _is_plain(self, data: bytes) -> bool:
        """Whether `data` is one whole request by GET without a body, and the connection waits for nothing else."""
        return (
            self._between
            and (self.cycle is None or self.cycle.response_complete)
            and not self._ending
            and data.startswith(b"GET /")
            and data.find(b"\r\n\r\n") == len(data) - 4
            and b" HTTP/1.1\r\n" in data
            and not _NOT_PLAIN.search(data)
        )

    def _stay_idle(self) -> None:
        """As after an answer of the ordinary road."""
        self._head_size = 0
        self._end_timer()
        if self.timeout_keep_alive_task is None:
            loop: Any = self.loop
            self.timeout_keep_alive_task = loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _head_ends_in_time(self, data: bytes) -> bool:
        """Whether what exceeds the limit is body already; the end of the head may lie across two reads."""
        end = (self._last + data).find(b"\r\n\r\n")
        return end >= 0 and self._head_size - len(self._last) + end <= MAX_HEAD

    def on_message_begin(self) -> None:
        self._in_head = True
        self._between = False
        super().on_message_begin()
        self.scope["extensions"] = _EXTENSIONS

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
        if self.cycle is None or self.cycle.response_complete:
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
        self._head_timer = loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _end_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes) -> None:
        self._end_timer()
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n"
            )
            self.transport.close()


def limited(admission: Admission) -> type[LimitedProtocol]:
    """The protocol of a listener that sheds."""
    return type("SheddingProtocol", (LimitedProtocol,), {"admission": admission})


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
        lines = [STATUS_LINE[message["status"]]]
        for name, value in self.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (message["head"], b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", message["body"])
        self.transport.write(b"".join(lines))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
