"""uvicorn's HTTP protocol with the two limits that it lacks: time and size of a request's head.

Knows nothing of links. A slow or endless head is cut before it costs anything.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
MAX_HEAD = 65_536
"""Bytes; the longest link is about 11 KiB, and some clients send cookies of 32 KiB for other sites of the domain."""


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is not complete in `HEAD_SECONDS` or grows over `MAX_HEAD` bytes."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is not None:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(b"431 Request Header Fields Too Large")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        if self._head_timer is None:  # not the connection's first request
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def _await_head(self) -> None:
        loop: Any = self.loop
        self._head_timer = loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_size = 0

    def _refuse(self, status: bytes) -> None:
        self._end_head()
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n"
            )
            self.transport.close()
