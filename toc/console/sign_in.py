"""Signing in and out, and what an account may change about itself."""

from __future__ import annotations

import hmac
from zoneinfo import available_timezones

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from toc import accounts, sessions
from toc.console import gate
from toc.console.answer import go, page
from toc.console.desk import Desk, account_of, actor_of, session_of
from toc.console.headers import HEADERS
from toc.console.render import LANGUAGES
from toc.console.show import cleaned
from toc.errors import Invalid, Overloaded, RateLimited, RequestError, Unauthenticated
from toc.lockout import sign_in
from toc.sessions import new_token


def routes(desk: Desk) -> list[Route]:
    return [*_door(desk), *_own_account(desk)]


def _door(desk: Desk) -> list[Route]:
    async def form(request: Request) -> Response:
        return _form(desk, request, gate.place_after(request.query_params.get("next", "")))

    async def enter(request: Request) -> Response:
        fields = request.state.form
        place = gate.place_after(fields.get("next", ""))
        name = cleaned(fields.get("name", "")).lower()[:128]
        now = desk.clock()
        try:
            account = await sign_in(
                desk.engine, desk.directory, name, fields.get("password", ""), network=desk.network(request), now=now
            )
        except (Unauthenticated, RateLimited, Overloaded) as error:
            return _form(desk, request, place, name=name, refused=error)
        former = await gate.find_session(desk, request)
        async with desk.engine.begin() as connection:
            if former is not None:
                await sessions.end(connection, former, now=now)
            session = await sessions.begin(connection, account, random=desk.random, now=now, ends=desk.ends)
        answer = RedirectResponse(place, 303, HEADERS)
        gate.set_cookie(answer, desk.secure, "session", session.token)
        gate.drop_cookie(answer, desk.secure, "form")
        return answer

    async def leave(request: Request) -> Response:
        async with desk.engine.begin() as connection:
            await sessions.end(connection, session_of(request), now=desk.clock())
        answer = RedirectResponse(gate.SIGN_IN, 303, {**HEADERS, "Clear-Site-Data": '"cache", "storage"'})
        gate.drop_cookie(answer, desk.secure, "session")
        return answer

    return [
        Route("/sign-in", form, methods=["GET"]),
        Route("/sign-in", enter, methods=["POST"]),
        Route("/sign-out", leave, methods=["POST"]),
    ]


def _form(desk: Desk, request: Request, place: str, *, name: str = "", refused: RequestError | None = None) -> Response:
    """The sign-in page. Its token stands in a cookie and in the form: nobody can sign a reader in as somebody else."""
    cookie = gate.cookie_name(desk.secure, "form")
    token = request.cookies.get(cookie) or new_token(desk.random)
    status = refused.status if refused else 200
    answer = page(
        desk, request, "sign_in.html", status, token=token, next=place, name=name,
        refused=refused.reason if refused else "", wait=refused.facts.get("seconds", 0) if refused else 0,
    )  # fmt: skip
    if cookie not in request.cookies:
        gate.set_cookie(answer, desk.secure, "form", token)
    return answer


def _own_account(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        return _account(desk, request, done=request.query_params.get("done", ""))

    async def view(request: Request) -> Response:
        fields = request.state.form
        language = fields.get("language", "")
        try:
            if language and language not in LANGUAGES:
                raise Invalid(f"{language[:20]!r} is no language of the console")
            async with desk.engine.begin() as connection:
                name = account_of(request).name
                await accounts.set_view(connection, name, timezone=fields.get("timezone", ""), language=language)
        except Invalid as error:
            return _account(desk, request, refused=error)
        return go("/account", done="view")

    async def password(request: Request) -> Response:
        """Asks for the present one, then ends all sessions and begins a new one here."""
        fields, account, now = request.state.form, account_of(request), desk.clock()
        new = fields.get("new", "")
        try:
            if not hmac.compare_digest(new.encode(), fields.get("again", "").encode()):
                raise Invalid("the two new passwords differ")
            accounts.checked_password(new, account.name)
            present = fields.get("present", "")
            await sign_in(desk.engine, desk.directory, account.name, present, network=desk.network(request), now=now)
        except (Invalid, Unauthenticated, RateLimited, Overloaded) as error:
            return _account(desk, request, refused=error)
        async with desk.engine.begin() as connection:
            await accounts.set_password(connection, account.name, new, actor=actor_of(request), now=now)
            session = await sessions.begin(connection, account, random=desk.random, now=now, ends=desk.ends)
        answer = go("/account", done="password")
        gate.set_cookie(answer, desk.secure, "session", session.token)
        return answer

    return [
        Route("/account", show, methods=["GET"]),
        Route("/account/view", view, methods=["POST"]),
        Route("/account/password", password, methods=["POST"]),
    ]


def _account(desk: Desk, request: Request, *, refused: RequestError | None = None, done: str = "") -> Response:
    zones = sorted(available_timezones())
    status = refused.status if refused else 200
    return page(desk, request, "account.html", status, zones=zones, refused=refused, done=done)
