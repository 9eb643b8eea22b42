"""Who comes in: session, role, CSRF token and Origin, in front of every route. Knows cookies and headers; knows no page."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from toc import audit, sessions
from toc.access import Principal
from toc.accounts import SCOPES, Role
from toc.console import rules
from toc.console.desk import Desk
from toc.console.headers import HEADERS
from toc.errors import Forbidden, NotFound, RequestError, Unauthenticated
from toc.sessions import Session
from toc.web import read_body

ROOT = "/console"
SIGN_IN = f"{ROOT}/sign-in"
SAFE_METHODS = ("GET", "HEAD")
CSRF_HEADER = "x-csrf-token"


def cookie_name(secure: bool, purpose: str) -> str:
    """``__Host-`` binds a cookie to this very host and to TLS (RFC 6265bis section 4.1.3.2).

    Without TLS, which is loopback only, browsers refuse that prefix.
    """
    return f"__Host-toc-{purpose}" if secure else f"toc-{purpose}"


def set_cookie(response: Response, secure: bool, purpose: str, value: str) -> None:
    """Lax for the session, so that the link in an alert finds its reader signed in; no unsafe request goes by a link."""
    response.set_cookie(
        cookie_name(secure, purpose), value, path="/", secure=secure, httponly=True,
        samesite="lax" if purpose == "session" else "strict",
    )  # fmt: skip


def drop_cookie(response: Response, secure: bool, purpose: str) -> None:
    response.delete_cookie(cookie_name(secure, purpose), path="/", secure=secure, httponly=True, samesite="lax")


async def find_session(desk: Desk, request: Request) -> Session | None:
    """The session of the browser that asks, if it has one that still lasts."""
    token = request.cookies.get(cookie_name(desk.secure, "session"), "")
    return await sessions.find(desk.engine, token, now=desk.clock(), ends=desk.ends) if token else None


def guarded(route: Route, desk: Desk) -> Route:
    """The same route behind its rule."""
    inner: Callable[[Request], Awaitable[Response]] = route.endpoint

    async def endpoint(request: Request) -> Response:
        rule = rules.find(request.method, route.path)
        if rule is None:
            raise NotFound("there is no such page")
        unsafe = request.method not in SAFE_METHODS
        if unsafe:
            require_same_origin(request, desk.secure)
        if rule.role is None:
            if unsafe:
                request.state.form = await read_form(request, rule.most)
                _require_token(_token_of(request), request.cookies.get(cookie_name(desk.secure, "form"), ""))
            return await inner(request)
        session = request.state.session = await find_session(desk, request)
        if session is None:
            return _to_sign_in(request)
        if not session.account.role.covers(rule.role):
            raise Forbidden(f"this needs the role {rule.role}; yours is {session.account.role}")
        if unsafe:  # read for those alone who may send it
            request.state.form = await read_form(request, rule.most)
            _require_token(_token_of(request), session.csrf)
        return await inner(request)

    return Route(route.path, endpoint, methods=list(route.methods or ()))


def require_same_origin(request: Request, secure: bool) -> None:
    """Fetch metadata where the browser sends it, and Origin, which all send with a POST. Raises Forbidden."""
    own = f"{'https' if secure else 'http'}://{request.headers.get('host', '')}"
    site = request.headers.get("sec-fetch-site", "same-origin")
    if request.headers.get("origin") != own or site != "same-origin":
        raise Forbidden("this request does not come from a page of this console")


UNMASKED = "/v1/clicks"
"""Calls that tell URLs with their values, which pages hide: for those who may reveal them, and on record as a reveal is."""


async def staff_principal(desk: Desk, request: Request) -> Principal | None:
    """Who calls a management call with a session in place of an API key; None without a session.

    What changes something needs the session's token in a header, and our own Origin. Raises Forbidden.
    """
    session = await find_session(desk, request)
    if session is None:
        return None
    if request.method not in SAFE_METHODS:
        require_same_origin(request, desk.secure)
        _require_token(request.headers.get(CSRF_HEADER, ""), session.csrf)
    staff = Principal(f"user:{session.account.name}", SCOPES[session.account.role])
    if request.url.path.startswith(UNMASKED):
        if not session.account.role.covers(Role.ANALYST):
            raise Forbidden(
                f"this tells hidden values: it needs the role {Role.ANALYST}; yours is {session.account.role}"
            )
        async with desk.engine.begin() as connection:
            await audit.note(
                connection, desk.clock(), staff.name, "clicks_revealed", request.url.path, request.url.query
            )
    return staff


async def read_form(request: Request, most: int) -> dict[str, str]:
    """The fields of an urlencoded form of at most `most` bytes; of repeated ones the last. Raises RequestError, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await read_body(request, most)
    if not raw:
        return {}
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("only forms are taken here")
    return await asyncio.to_thread(_fields, raw)  # a list takes up to a second


def _fields(raw: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise RequestError("this form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}


def _token_of(request: Request) -> str:
    token: str = request.headers.get(CSRF_HEADER) or request.state.form.get("csrf", "")
    return token


def _require_token(given: str, expected: str) -> None:
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Forbidden("this form is out of date; load the page again")


def _to_sign_in(request: Request) -> Response:
    """Pages lead to the sign-in and from there back; parts of pages make the whole page go there."""
    if request.method not in SAFE_METHODS:
        raise Unauthenticated("your session has ended; sign in again")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        shown = request.headers.get("hx-current-url", "").partition(ROOT)[2]
        return Response(
            status_code=401, headers={**HEADERS, "HX-Redirect": f"{SIGN_IN}?next={quote(ROOT + shown, safe='')}"}
        )
    return RedirectResponse(f"{SIGN_IN}?next={quote(here, safe='')}", 303, HEADERS)


def place_after(text: str) -> str:
    """Where to go after signing in: a path of ours, else the overview. Nothing that a browser could read as a host."""
    odd = any(character <= " " or character in "\\\x7f" for character in text)
    return text if text.startswith(f"{ROOT}/") and not odd and "//" not in text.partition("?")[0] else f"{ROOT}/"
