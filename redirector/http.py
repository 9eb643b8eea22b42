"""A request and an answer as plain values, and their way from and to ASGI. Knows HTTP; knows no link.

The public listener is one ASGI callable without a framework in between: the road of a click is short enough to be read
whole, and a framework's routing and response classes cost more than the click itself (`scripts/bench click`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from redirector.headers import PLAIN, header_lines
from redirector.protocol import ANSWER

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]

MAX_BODY = 4096
"""Bytes of a POST: our own buttons send less than 200."""

MAX_FIELDS = 32

BODY_SECONDS = 10.0


class Request(NamedTuple):
    """What the road of a click looks at.

    path:    raw path below our base URL, as the client sent it, without the query
    headers: lower-case names; of repeated ones the last
    client:  address, after listed proxies
    """

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    client: str
    receive: Receive

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class Answer(NamedTuple):
    """`head`: the header lines, each with its CRLF, content-length among them."""

    status: int
    head: bytes
    body: bytes = b""


_REDIRECT = header_lines((b"content-length", b"0"), *PLAIN)


def redirect(target: str, status: int = 302) -> Answer:
    """To `target`, which is a URL in WHATWG serialisation: ASCII without controls, so nothing can be injected."""
    return Answer(status, b"location: %b\r\n%b" % (target.encode("ascii"), _REDIRECT))


def text(status: int, body: str, *more: tuple[bytes, bytes]) -> Answer:
    raw = body.encode()
    length = (b"content-length", str(len(raw)).encode())
    return Answer(status, header_lines((b"content-type", b"text/plain; charset=utf-8"), length, *PLAIN, *more), raw)


async def form(request: Request) -> dict[str, str] | None:
    """The fields of a small urlencoded POST; None for anything else. What it does not understand it never keeps."""
    if request.header(b"content-type").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await request.receive()
                body += message.get("body", b"")
                if message["type"] != "http.request" or len(body) > MAX_BODY:
                    return None
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return None
    if body.count(b"&") >= MAX_FIELDS:
        return None
    fields = parse_qs(body.decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def send(scope: Scope, send: Send, answer: Answer) -> Awaitable[None]:
    """By the short way of `redirector.protocol`, where the server has it."""
    status, head, body = answer
    if scope["method"] == "HEAD":
        body = b""
    if ANSWER in scope.get("extensions", ()):
        return send({"type": ANSWER, "status": status, "head": head, "body": body})
    return _send_long(send, status, head, body)


async def _send_long(send: Send, status: int, head: bytes, body: bytes) -> None:
    lines = [line.split(b": ", 1) for line in head.splitlines()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
