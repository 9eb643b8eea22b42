"""What is left when the service has ended: each link opens by the keyset alone, after a page that says it is not checked.

Asks no list, no policy and no database, keeps no record, and may run for ten years on a small machine. A link is still
never an open redirector: it opens only if we sealed it, and a person presses the button.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime

from redirector.click import page_answer
from redirector.http import Answer, Request, form, redirect, text
from redirector.metrics import BAD_LINKS
from redirector.nonce import Nonce, check, make
from redirector.pages import STATUS, Renderer, Story
from redirector.prefixes import Prefixes
from redirector.words import Page
from toc.errors import BadLink, BadUrl, StoreNeeded
from toc.keys import Keyset
from toc.policy import Action
from toc.token import Flag, Sealed, nonce_key, open_path
from toc.url import Url, parse_serialised
from toc.verdict import Level


class SunsetRoad:
    """One per worker. `stored`: the target field of a version 2 link; raises StoreNeeded."""

    def __init__(
        self,
        keyset: Callable[[], Keyset],
        stored: Callable[[bytes], Awaitable[bytes | None]],
        clock: Callable[[], datetime],
        renderer: Renderer,
        nonce_seconds: int,
    ) -> None:
        self._keyset = keyset
        self._stored = stored
        self._clock = clock
        self._renderer = renderer
        self._nonce_seconds = nonce_seconds
        self._prefixes = Prefixes()

    def without_prefix(self, path: str) -> str:
        return self._prefixes.without(path, self._keyset())

    async def answer(self, request: Request, rest: str, *, preview: bool) -> Answer | None:
        """The page, or the way on behind its button; None for a bad link. A preview shows the page, too."""
        try:
            sealed, host, token = await self._open(rest)
            url = parse_serialised(sealed.target)
        except StoreNeeded:
            return page_answer(self._renderer, request, Story(Page.UNCHECKED, reasons=("store_needed",)), 503)
        except (BadLink, BadUrl) as error:
            BAD_LINKS.add((str(error),))
            return None
        if request.method == "POST" and not preview:
            return await self._button(request, sealed, url, host, token)
        if request.method not in ("GET", "HEAD"):
            return text(405, "Only GET, HEAD and POST here.\n", (b"allow", b"GET, HEAD, POST"))
        page = Page.NOT_SENT if Flag.FORM in sealed.flags else Page.SUNSET
        return self._page(request, page, sealed, url, host, token)

    def begin(self, _request: Request, _rest: str, _done: object) -> bool:
        """A page for a person is never in such a hurry."""
        return False

    async def _button(self, request: Request, sealed: Sealed, url: Url, host: str, token: str) -> Answer:
        ours = request.header(b"sec-fetch-site") in ("", "same-origin", "none")
        fields = (await form(request) if ours else None) or {}
        key = nonce_key(self._keyset())
        nonce = check(key, token, fields.get("nonce", ""), now=self._clock().timestamp())
        if nonce is not None and fields.get("do") == "proceed":
            return redirect(url.href, 303)
        return self._page(request, Page.NOT_SENT, sealed, url, host, token, status=403)

    async def _open(self, rest: str) -> tuple[Sealed, str, str]:
        """Raises BadLink, StoreNeeded."""
        asked: list[bytes] = []
        try:
            return open_path(rest, self._keyset(), asked.append)
        except BadLink:
            if not asked:
                raise
        field = await self._stored(asked[0])
        return open_path(rest, self._keyset(), lambda _id: field)

    def _page(
        self, request: Request, page: Page, sealed: Sealed, url: Url, host: str, token: str, status: int | None = None
    ) -> Answer:
        story = Story(
            page,
            url=url.href,
            other=sealed.other,
            host=url.host,
            domain=url.domain,
            nonce=make(
                nonce_key(self._keyset()),
                token,
                Nonce(Level.UNTESTED, Action.WARN, os.urandom(16).hex()),
                now=self._clock().timestamp(),
                seconds=self._nonce_seconds,
            ),
            action_path=f"{host}/{token}",
        )
        return page_answer(self._renderer, request, story, status or STATUS[page])
