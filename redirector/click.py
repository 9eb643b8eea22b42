"""The road of one click, in one file:  link → Sealed → Url → Verdict → Decision → record → answer.

Knows HTTP, pages and the record. What is known about a URL, and the keys, are handed in. The target is never contacted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from redirector.actor import Actor, classify
from redirector.burst import Bursts
from redirector.clicks import Click, Event, row
from redirector.headers import header_lines
from redirector.http import Answer, Request, form, redirect, text
from redirector.metrics import BAD_LINKS, CLICKS
from redirector.negotiate import chosen_language
from redirector.nonce import Nonce, check, make
from redirector.pages import STATUS, Renderer, Story
from redirector.prefixes import Prefixes
from redirector.rate import Network, network_of
from redirector.record import Kept, Row
from redirector.words import Page
from toc.config import Config
from toc.errors import BadLink, BadUrl, StoreNeeded
from toc.keys import Keyset
from toc.policy import Action, Decision, Policy, Profile, decide
from toc.token import Flag, Sealed, open_path
from toc.url import Url, parse_serialised
from toc.verdict import Level, Verdict


@dataclass(frozen=True, slots=True)
class Tools:
    """What the road works with.

    judge:    the verdict on a target, with the seal that names it, at a time; `None` where it takes waiting
    ask:      the same, with waiting: for live sources, or for the database
    stored:   the target field of a version 2 link, None where there is no such row
    revoked:  whether a link, its message or its recipient was revoked
    networks: from how many networks a link was clicked so far (asked only where a profile limits it)
    keep:     puts a record where it is durable
    keep_then: the same without waiting; the callable is told later
    """

    keyset: Callable[[], Keyset]
    refresh: Callable[[], bool]
    policy: Callable[[], Policy]
    judge: Callable[[Url, Sealed, datetime], Verdict | None]
    ask: Callable[[Url, Sealed, datetime], Awaitable[Verdict]]
    stored: Callable[[bytes], Awaitable[bytes | None]]
    revoked: Callable[[Sealed, str], bool]
    networks: Callable[[Sealed], Awaitable[int]]
    keep: Callable[[Row], Awaitable[Kept]]
    keep_then: Callable[[Row, Callable[[Kept], None]], None]
    nonce_key: Callable[[], bytes]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]


class Opened(NamedTuple):
    """An open link and what was found out about it."""

    sealed: Sealed
    host: str
    token: str
    url: Url
    actor: Actor
    now: datetime
    id: str
    group: str


class Judged(NamedTuple):
    """An open link, and what is to happen."""

    opened: Opened
    verdict: Verdict
    decision: Decision
    forwards: bool


class Road:
    """One per worker."""

    def __init__(self, tools: Tools, renderer: Renderer, config: Config, scanners: tuple[Network, ...]) -> None:
        self._tools = tools
        self._renderer = renderer
        self._config = config
        self._scanners = scanners
        self._bursts = Bursts()
        self._prefixes = Prefixes()

    def without_prefix(self, path: str) -> str:
        return self._prefixes.without(path, self._tools.keyset())

    def begin(self, request: Request, rest: str, done: Callable[[Callable[[], Answer]], None]) -> bool:
        """A click by GET as `answer` takes it, if it waits for nothing but its record. `done` gets what makes the answer.

        False where it takes more, or is no good link; nothing was done then.
        """
        tools = self._tools
        try:
            sealed, host, token = open_path(rest, tools.keyset())
            url = parse_serialised(sealed.target)
        except (BadLink, BadUrl):
            return False
        now = tools.clock()
        found = None if tools.revoked(sealed, token) else self._judged_at_once(url, sealed, now)
        if found is None:
            return False
        judged = self._judged_click(self._opened(request, sealed, host, token, url, now), *found)
        event = Event.FORWARDED if judged.forwards else Event.SHOWN
        record = self._row(request, judged.opened, judged.verdict, judged.decision, event)
        tools.keep_then(record, lambda kept: done(partial(self._answer, request, judged, kept)))
        return True

    async def answer(self, request: Request, rest: str, *, preview: bool) -> Answer | None:
        """What a link of ours leads to; None for a bad link."""
        try:
            try:
                sealed, host, token = open_path(rest, self._tools.keyset())
            except BadLink as failure:
                sealed, host, token = await self._second_look(rest, failure)
            opened = self._opened(request, sealed, host, token, parse_serialised(sealed.target), self._tools.clock())
        except StoreNeeded:
            return self._page(request, Story(Page.UNCHECKED, reasons=("store_needed",)), 503)
        except (BadLink, BadUrl) as error:
            BAD_LINKS.add((str(error),))
            return None
        if preview:
            return await self._preview(request, opened)
        if request.method == "POST":
            return await self._button(request, opened)
        if request.method not in ("GET", "HEAD"):
            return text(405, "Only GET, HEAD and POST here.\n", (b"allow", b"GET, HEAD, POST"))
        return await self._click(request, opened)

    def _opened(self, request: Request, sealed: Sealed, host: str, token: str, url: Url, now: datetime) -> Opened:
        click, network = self._tools.new_id(), network_of(request.client)
        burst = self._bursts.add(network, sealed.message_ref, sealed.recipient_ref, sealed.target, now.timestamp())
        actor = classify(request.method, request.headers, request.client, self._scanners, burst=burst)
        return Opened(sealed, host, token, url, actor, now, click, click)

    async def _second_look(self, rest: str, failure: BadLink) -> tuple[Sealed, str, str]:
        """Where the target stands in the store, or the key may have come since. Raises BadLink, StoreNeeded."""
        tools = self._tools
        if not isinstance(failure, StoreNeeded) and not (str(failure) == "unknown key" and tools.refresh()):
            raise failure
        asked: list[bytes] = []
        with contextlib.suppress(BadLink):
            return open_path(rest, tools.keyset(), asked.append)
        if not asked:
            raise failure
        field = await tools.stored(asked[0])
        return open_path(rest, tools.keyset(), lambda _id: field)

    async def _click(self, request: Request, opened: Opened) -> Answer:
        tools = self._tools
        if tools.revoked(opened.sealed, opened.token):
            return await self._revoked(request, opened)
        judged = self._judged_click(opened, *await self._judge(opened))
        event = Event.FORWARDED if judged.forwards else Event.SHOWN
        kept = await self._record(request, opened, judged.verdict, judged.decision, event)
        return self._answer(request, judged, kept)

    def _judged_click(self, opened: Opened, verdict: Verdict, decision: Decision) -> Judged:
        forwards = decision.action is Action.ALLOW and not _is_form(opened.sealed)
        return Judged(opened, verdict, decision, forwards and opened.actor.reason != "ahead_of_time")

    def _answer(self, request: Request, judged: Judged, kept: Kept) -> Answer:
        """To a click that is on record."""
        opened, verdict, decision, forwards = judged
        if opened.actor.reason == "ahead_of_time":
            return text(503, "Not for prefetching.\n")
        if kept is Kept.LOST and forwards and self._config.spool.when_full == "warn_page":
            decision, forwards = Decision(Action.WARN, ("record_lost",)), False
        if forwards:
            return redirect(opened.url.href)
        is_form = _is_form(opened.sealed) and decision.action is not Action.BLOCK
        page = Page.NOT_SENT if is_form else _page_of(decision, verdict.level)
        return self._judged_page(request, opened, verdict, decision, page)

    async def _button(self, request: Request, opened: Opened) -> Answer:
        """A POST: one of our buttons, or a form of the mail, whose fields are neither read on, forwarded nor stored."""
        tools = self._tools
        fields = await form(request) if request.header(b"sec-fetch-site") in ("", "same-origin", "none") else None
        nonce = check(tools.nonce_key(), opened.token, (fields or {}).get("nonce", ""), now=opened.now.timestamp())
        do = (fields or {}).get("do")
        if tools.revoked(opened.sealed, opened.token):
            return await self._revoked(request, opened)
        verdict, decision = await self._judge(opened)
        if nonce is None or do not in ("proceed", "report"):
            await self._record(request, opened, verdict, decision, Event.SHOWN)
            page = Page.BLOCKED if decision.action is Action.BLOCK else Page.NOT_SENT
            return self._judged_page(request, opened, verdict, decision, page, status=403)
        opened = opened._replace(group=nonce.group)
        if do == "report":
            await self._record(request, opened, verdict, decision, Event.REPORTED)
            return self._judged_page(request, opened, verdict, decision, Page.REPORTED)
        if decision.action is Action.BLOCK or verdict.level > nonce.level or nonce.expired:
            await self._record(request, opened, verdict, decision, Event.SHOWN)
            return self._judged_page(request, opened, verdict, decision, _page_again(opened, decision, verdict.level))
        await self._record(request, opened, verdict, decision, Event.PROCEEDED)
        return redirect(opened.url.href, 303)

    async def _preview(self, request: Request, opened: Opened) -> Answer:
        """Where it leads, in words; it never forwards and is no click."""
        if request.method not in ("GET", "HEAD"):
            return text(405, "Only GET here.\n", (b"allow", b"GET, HEAD"))
        if self._tools.revoked(opened.sealed, opened.token):
            return self._page(request, self._story(opened, Page.REVOKED, ("revoked",)), 410)
        verdict, decision = await self._judge(opened)
        return self._judged_page(request, opened, verdict, decision, Page.PREVIEW)

    async def _revoked(self, request: Request, opened: Opened) -> Answer:
        verdict = Verdict(Level.UNTESTED, opened.now)
        await self._record(request, opened, verdict, Decision(Action.BLOCK, ("revoked",)), Event.SHOWN)
        return self._page(request, self._story(opened, Page.REVOKED, ("revoked",)), 410)

    def _judged_at_once(self, url: Url, sealed: Sealed, now: datetime) -> tuple[Verdict, Decision] | None:
        """None where somebody must be asked first."""
        tools = self._tools
        verdict = tools.judge(url, sealed, now)
        profile: Profile = tools.policy().numbered(sealed.profile)
        if verdict is None or profile.max_networks:
            return None
        return verdict, decide(sealed, verdict, profile, now=now)

    async def _judge(self, opened: Opened) -> tuple[Verdict, Decision]:
        tools, sealed, now = self._tools, opened.sealed, opened.now
        found = self._judged_at_once(opened.url, sealed, now)
        if found is not None:
            return found
        verdict = await tools.ask(opened.url, sealed, now)
        profile: Profile = tools.policy().numbered(sealed.profile)
        networks = await tools.networks(sealed) if profile.max_networks else 0
        return verdict, decide(sealed, verdict, profile, now=now, networks=networks)

    def _record(
        self, request: Request, opened: Opened, verdict: Verdict, decision: Decision, event: Event
    ) -> Awaitable[Kept]:
        """On record before the answer leaves."""
        return self._tools.keep(self._row(request, opened, verdict, decision, event))

    def _row(self, request: Request, opened: Opened, verdict: Verdict, decision: Decision, event: Event) -> Row:
        click = Click(
            id=opened.id,
            group=opened.group,
            time=opened.now,
            event=event,
            url=opened.url,
            sealed=opened.sealed,
            verdict=verdict,
            decision=decision,
            client=request.client,
            user_agent=request.header(b"user-agent")[:512],
            actor=opened.actor,
            policy=self._tools.policy().version,
        )
        CLICKS.add(_CLICKED[event, decision.action])
        return row(click, self._config.clicks)

    def _judged_page(
        self,
        request: Request,
        opened: Opened,
        verdict: Verdict,
        decision: Decision,
        page: Page,
        *,
        status: int | None = None,
    ) -> Answer:
        nonce = make(
            self._tools.nonce_key(),
            opened.token,
            Nonce(verdict.level, decision.action, opened.group),
            now=opened.now.timestamp(),
            seconds=self._config.clicks.nonce_seconds,
        )
        story = replace(
            self._story(opened, page, decision.reasons), level=verdict.level.code, silent=verdict.silent, nonce=nonce
        )
        return self._page(request, story, status)

    def _story(self, opened: Opened, page: Page, reasons: tuple[str, ...]) -> Story:
        return Story(
            page,
            url=opened.url.href,
            other=opened.sealed.other,
            host=opened.url.host,
            domain=opened.url.domain,
            reasons=reasons,
            reference=opened.group,
            action_path=f"{opened.host}/{opened.token}",
        )

    def _page(self, request: Request, story: Story, status: int | None = None) -> Answer:
        return page_answer(self._renderer, request, story, status or STATUS[story.page])


def page_answer(renderer: Renderer, request: Request, story: Story, status: int, *more: tuple[bytes, bytes]) -> Answer:
    """A page in the reader's language; its relative URLs start from the path that was asked for."""
    story = replace(story, root="../" * (request.path.count("/") - 1))
    body = renderer.render(story, request.header(b"accept-language"), chosen_language(request.query))
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, header_lines(*renderer.headers(story.page), length, *more), body)


# As plain values: a click asks for them thousands of times a second, and the enums' own operators are slow.
_FORM = int(Flag.FORM)
_CLICKED = {(event, action): (event.code, action.code) for event in Event for action in Action}


def _is_form(sealed: Sealed) -> bool:
    return bool(int(sealed.flags) & _FORM)


def _page_again(opened: Opened, decision: Decision, level: Level) -> Page:
    """For a button that came too late, or after the verdict had got worse."""
    if decision.action is Action.ALLOW:
        return Page.NOT_SENT if _is_form(opened.sealed) else Page.PREVIEW
    return _page_of(decision, level)


def _page_of(decision: Decision, level: Level) -> Page:
    if decision.action is Action.BLOCK:
        return Page.BLOCKED
    if "source_silent" in decision.reasons and level <= Level.UNTESTED:
        return Page.UNCHECKED
    return Page.WARNING
