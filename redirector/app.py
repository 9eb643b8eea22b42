"""The public listener: which request goes where, and when we say no before looking. The click itself is in `click`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from redirector.click import page_answer
from redirector.headers import POLICY, SAFETY_HEADERS, header_lines
from redirector.http import Answer, Receive, Request, Scope, Send, send, text
from redirector.metrics import ANSWERS, SHED
from redirector.negotiate import negotiate
from redirector.pages import Renderer, Story
from redirector.plain import Plain
from redirector.protocol import PAST_CAPACITY, Done
from redirector.rate import Network, RateLimiter, client_of
from redirector.words import Page
from toc.config import Config

log = structlog.get_logger("redirector.app")

MAX_OVERLOADED = 100
"""Ten languages, and the few depths of paths that there are."""

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

    def begin(self, request: Request, rest: str, done: Callable[[Callable[[], Answer]], None]) -> bool: ...


class App:
    """The ASGI application of the public listener, and its doorkeeper (`redirector.protocol.Doorkeeper`)."""

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
        if self._in_work >= self._limits.capacity or PAST_CAPACITY in scope.get("extensions", ()):
            answer = self._shed(scope)
        else:
            headers, peer = dict(scope["headers"]), scope["client"]
            path, query = scope["raw_path"], scope["query_string"]
            request = self._request(scope["method"], path, query, headers, peer[0] if peer else "", receive)
            self._in_work += 1
            try:
                room = request.path[:3]
                if room in ("/u/", "/p/"):
                    found = await self._road.answer(request, request.path[3:], preview=room == "/p/")
                    answer = found or self._refused(request, Page.DAMAGED, 404)
                else:
                    answer = self._other(request)
            except Exception:
                log.exception("click_failed")
                answer = text(500, "Internal Server Error\n")
            finally:
                self._in_work -= 1
        ANSWERS.add((str(answer.status),))
        await send(scope, send_message, answer)

    def begin(self, request: Plain, peer: str, done: Done) -> bool:
        """A click that waits for nothing but its record: without a task, and answered from where the record tells it."""
        path, _, query = request.target.partition(b"?")
        asked = self._request("GET", path, query, request.headers, peer, _nothing)
        if asked.path[:3] != "/u/":
            return False
        try:
            begun = self._road.begin(asked, asked.path[3:], partial(self._end, done))
        except Exception:
            log.exception("click_failed")
            begun = False  # the ordinary road answers it, or fails as that does
        self._in_work += begun
        return begun

    def _end(self, done: Done, answer: Callable[[], Answer]) -> None:
        self._in_work -= 1
        try:
            found = answer()
        except Exception:
            log.exception("click_failed")
            found = text(500, "Internal Server Error\n")
        ANSWERS.add((str(found.status),))
        done(*found)

    def _shed(self, scope: Scope) -> Answer:
        """Past capacity: nothing was looked at or begun."""
        accept = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
        return self._refusal(scope["raw_path"], accept)

    def has_room(self, waiting: int, *, newcomer: bool) -> bool:
        """An eighth is kept for newcomers: a flood on a few thousand connections would else leave no room to anybody."""
        capacity = self._limits.capacity
        return self._in_work + waiting < (capacity if newcomer else capacity - capacity // 8)

    def refusal(self, request: Plain) -> bytes:
        """The same, whole, to a plain request."""
        answer = self._refusal(request.target.partition(b"?")[0], request.headers.get(b"accept-language", b""))
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

    def _request(
        self, method: str, path: bytes, query: bytes, headers: dict[bytes, bytes], peer: str, receive: Receive
    ) -> Request:
        if self._limits.proxies and b"x-forwarded-for" in headers:
            peer = client_of(peer, headers[b"x-forwarded-for"].decode("latin-1"), self._limits.proxies)
        below = self._road.without_prefix(path.decode("latin-1"))
        return Request(method, below, query.decode("latin-1"), headers, peer, receive)

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
        """RFC 9116; it must name a contact: for want of one of its own, the pages', or the page that says who runs this."""
        service = self._config.service
        own_page = service.public_url and service.public_url.rstrip("/") + "/"
        contact = service.security_contact or self._renderer.contact_url or own_page
        if not contact:
            return text(404, "No security contact is configured.\n")
        expires = (datetime.now(UTC) + timedelta(days=180)).replace(microsecond=0).isoformat().replace("+00:00", "Z")
        return text(200, f"Contact: {contact}\nExpires: {expires}\n")


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}
