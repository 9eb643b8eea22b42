"""A plain request: one GET without a body, whole in one piece, that wishes nothing about its connection.

What nearly every click is. Read by the same parser as any other (httptools), but without what else the ordinary road makes
of a request: a scope, a task, messages. Whatever is not surely plain is left to that road.
"""

from __future__ import annotations

from typing import NamedTuple

import httptools

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_WISHES = frozenset({b"connection", b"proxy-connection"})  # the second is no standard, but the parser heeds it
_STAY = b"keep-alive"


class Plain(NamedTuple):
    """target: path and query, as they were sent; headers: lower-case names, of repeated ones the last."""

    target: bytes
    headers: dict[bytes, bytes]


class Reader:
    """One parser for all connections of a process: each request is whole, so that nothing is left in it for the next."""

    def __init__(self) -> None:
        self._target, self._stays = b"", False
        self._headers: dict[bytes, bytes] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def read(self, data: bytes) -> Plain | None:
        """None for anything else."""
        if not data.startswith(b"GET /") or data.find(b"\r\n\r\n") != len(data) - 4:
            return None
        self._target, self._stays = b"", False
        headers: dict[bytes, bytes] = {}
        self._headers = headers
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._stays = False
        target = self._target
        is_line_plain = b"#" not in target and data.startswith(b" HTTP/1.1\r\n", 4 + len(target))
        if self._stays and is_line_plain and _FRAMING.isdisjoint(headers) and not _wishes(headers):
            return Plain(target, headers)
        self._begin_anew()  # it may wait for a body, or for the connection's end
        return None

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Of a repeated ``Connection`` each counts, and the parser has heeded all. Later it has forgotten them."""
        self._stays = self._parser.should_keep_alive()


def _wishes(headers: dict[bytes, bytes]) -> bool:
    """Anything but that the connection stays."""
    return not _WISHES.isdisjoint(headers) and any(headers.get(name, _STAY).lower() != _STAY for name in _WISHES)
