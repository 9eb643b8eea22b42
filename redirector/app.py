"""The public listener: which request goes where, and when we say no before looking. The click itself is in `click`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from redirector.click import page_answer
from redirector.http import POLICY, SAFETY_HEADERS, Answer, Receive, Request, Scope, Send, header_lines, send, text
from redirector.metrics import ANSWERS, SHED
from redirector.negotiate import negotiate
from redirector.pages import Renderer, Story
from redirector.rate import Network, RateLimiter, client_of
from redirector.words import Page
from toc.config import Config

MAX_OVERLOADED = 100
"""Ten languages, and the few depths of paths that there are."""

_ACCEPT_LANGUAGE = re.compile(rb"\r\naccept-language:[ \t]*([^\r\n]*)", re.IGNORECASE)
RETRY_AFTER = (b"retry-after", b"2")


@dataclass(frozen=True, slots=True)
class Limits:
    """capacity: clicks in work at once; proxies: peers whose X-Forwarded-For is believed."""

    capacity: int
    proxies: tuple[Network, ...]


class Links(Protocol):
    """Where the paths of links lead: `redirector.click.Road`, or `redirector.sunset.SunsetRoad`."""

    def without_prefix(self, path: str) -> str: ...

    async def answer(self, request: Request, rest: str, *, preview: bool) -> Answer | None: ...


class App:
    """The ASGI application of the public listener."""

    def __init__(self, road: Links, renderer: Renderer, config: Config, limits: Limits, bad: RateLimiter) -> None:
        """`renderer` is the road's own."""
        self._road = road
        self._renderer = renderer
        self._config = config
        self._limits = limits
        self._bad = bad
        self._in_work = 0
        self._overloaded: dict[tuple[str, int], Answer] = {}
        self._static = renderer.static_files()
        self._plain: Mapping[str, Callable[[Request], Answer]] = {
            "/": self._root,
            "/robots.txt": lambda _: text(200, "User-agent: *\nDisallow: /\n"),
            "/.well-known/security.txt": self._security,
            "/healthz": lambda _: text(200, "ok\n"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send_message: Send) -> None:
        if scope["type"] != "http":
            return
        if self._in_work >= self._limits.capacity:
            answer = self._shed(scope)
        else:
            request = self._request(scope, receive)
            self._in_work += 1
            try:
                room = request.path[:3]
                if room in ("/u/", "/p/"):
                    found = await self._road.answer(request, request.path[3:], preview=room == "/p/")
                    answer = found or self._refused(request, Page.DAMAGED, 404)
                else:
                    answer = self._other(request)
            finally:
                self._in_work -= 1
        ANSWERS.add((str(answer.status),))
        await send(scope, send_message, answer)

    def _shed(self, scope: Scope) -> Answer:
        """Past capacity: nothing was looked at or begun."""
        accept = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
        return self._refusal(scope["raw_path"], accept)

    def refusal(self, head: bytes) -> bytes:
        """The same, whole, to the raw head of a plain GET: for `redirector.protocol.Admission`."""
        accept = _ACCEPT_LANGUAGE.search(head)
        answer = self._refusal(head.split(b" ", 2)[1].partition(b"?")[0], accept[1] if accept else b"")
        ANSWERS.add(("503",))
        return b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n%b" % (answer.head, answer.body)

    def _refusal(self, path: bytes, accept: bytes) -> Answer:
        """Made once a language, as it must cost far less than a click."""
        SHED.add(("link" if path.startswith((b"/u/", b"/p/")) else "other",))
        language, depth = negotiate(accept.decode("latin-1")), path.count(b"/")
        answer = self._overloaded.get((language, depth))
        if answer is None:
            headers = {b"accept-language": accept}
            request = Request("GET", path.decode("latin-1"), "", headers, "", _nothing)
            answer = self._page(request, Page.OVERLOADED, 503, RETRY_AFTER)
            if len(self._overloaded) < MAX_OVERLOADED:
                self._overloaded[language, depth] = answer
        return answer

    def _request(self, scope: Scope, receive: Receive) -> Request:
        headers = dict(scope["headers"])
        peer = scope["client"]
        client = peer[0] if peer else ""
        if self._limits.proxies and b"x-forwarded-for" in headers:
            client = client_of(client, headers[b"x-forwarded-for"].decode("latin-1"), self._limits.proxies)
        path = self._road.without_prefix(scope["raw_path"].decode("latin-1"))
        query = scope["query_string"]
        return Request(scope["method"], path, query.decode("latin-1"), headers, client, receive)

    def _other(self, request: Request) -> Answer:
        """Any path but those of links."""
        path = request.path
        if request.method not in ("GET", "HEAD"):
            return text(405, "Only GET here.\n", (b"allow", b"GET, HEAD"))
        plain = self._plain.get(path)
        if plain is not None:
            return plain(request)
        if path.startswith("/static/") and path[8:] in self._static:
            return self._static_file(path[8:])
        return self._refused(request, Page.DAMAGED, 404)

    def _refused(self, request: Request, page: Page, status: int) -> Answer:
        """A bad request, counted against the client's network."""
        if not self._bad.take(request.client, time.monotonic()):
            return self._page(request, Page.RATE_LIMITED, 429, RETRY_AFTER)
        return self._page(request, page, status)

    def _page(self, request: Request, page: Page, status: int, *more: tuple[bytes, bytes]) -> Answer:
        return page_answer(self._renderer, request, Story(page), status, *more)

    def _root(self, request: Request) -> Answer:
        return self._page(request, Page.ROOT, 200)

    def _static_file(self, name: str) -> Answer:
        kind, body = self._static[name]
        length = (b"content-length", str(len(body)).encode())
        cache = (b"cache-control", b"public, max-age=3600")
        return Answer(200, header_lines((b"content-type", kind), length, cache, POLICY, *SAFETY_HEADERS[1:]), body)

    def _security(self, _request: Request) -> Answer:
        """RFC 9116; 404 where the operator gave no contact, as the file must hold one."""
        contact = self._config.service.security_contact
        if not contact:
            return text(404, "No security contact is configured.\n")
        expires = (datetime.now(UTC) + timedelta(days=180)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
        return text(200, f"Contact: {contact}\nExpires: {expires}\n")


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}
