"""Turns facts into an answer: template, language, zone, and the headers that every page has."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from toc.accounts import Role
from toc.console.desk import Desk
from toc.console.gate import ROOT
from toc.console.headers import HEADERS
from toc.console.render import zone_of
from toc.sessions import Session

ZONE_COOKIE = "toc-zone"
"""The browser's time zone, as console.js tells it. No secret, no right depends on it."""


def language_of(desk: Desk, request: Request) -> str:
    session: Session | None = getattr(request.state, "session", None)
    chosen = session.account.language if session else request.query_params.get("lang", "")
    return desk.renderer.language(chosen, request.headers.get("accept-language", ""))


def viewer_zone(request: Request) -> ZoneInfo:
    session: Session | None = getattr(request.state, "session", None)
    return zone_of(session.account.timezone if session else "", request.cookies.get(ZONE_COOKIE, ""))


def page(desk: Desk, request: Request, template: str, status: int = 200, **facts: Any) -> Response:
    """One page, or, where the script asked for a part, that part: the template's name decides."""
    session: Session | None = getattr(request.state, "session", None)
    zone = viewer_zone(request)
    common = {
        "root": ROOT,
        "account": session.account if session else None,
        "csrf": session.csrf if session else "",
        "here": request.url.path.removeprefix(ROOT),
        "may_work": session is not None and session.account.role.covers(Role.ANALYST),
        "may_rule": session is not None and session.account.role.covers(Role.ADMIN),
    }
    text = desk.renderer.render(template, language_of(desk, request), zone, common | facts)
    return HTMLResponse(text.encode(), status, HEADERS)


def asked_for_part(request: Request) -> bool:
    """The script wants the results alone; going back in history wants the whole page."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


def go(place: str, *, done: str = "") -> Response:
    """On to a page of ours after a change (303, so that a reload changes nothing twice)."""
    mark = "&" if "?" in place else "?"
    return RedirectResponse(f"{ROOT}{place}{f'{mark}done={done}' if done else ''}", 303, HEADERS)
