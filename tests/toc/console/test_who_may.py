"""Who may do what.

Invariants: every route has a rule; every role may do exactly what its rule says, on every route; without a session nothing is
told; a request that changes something needs the session's token and our own Origin; a session that was handed out before
signing in is worth nothing after; sessions end when idle, in any case, on signing out, on a new password, on being disabled;
a guesser is slowed down and nobody is locked out from where they usually sit.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select
from starlette.routing import Route

from tests.toc.console.conftest import BASE, PASSWORD, USERS, Site, enter, post, token_of
from toc import accounts, lockout, sessions
from toc.accounts import Account, Role
from toc.console import app, gate, rules
from toc.errors import Conflict, Invalid, Overloaded
from toc.store.schema import audit, sign_ins
from toc.store.schema import sessions as session_table

PLACES = {"id": "0" * 32, "ref": "00" * 8, "name": "no-list", "name:path": "console.css"}
CHANGING = [rule for rule in rules.RULES if rule.method == "POST" and rule.role is not None]


def place(rule: rules.Rule) -> str:
    path = rule.path
    for name, value in PLACES.items():
        path = path.replace(f"{{{name}}}", value)
    return f"/console{path}"


def test_every_route_has_a_rule_and_every_rule_a_route(site: Site) -> None:
    found = {
        (method, route.path) for route in app.routes(site.desk) for method in route.methods or () if method != "HEAD"
    }
    assert found == {(rule.method, rule.path) for rule in rules.RULES}
    assert len(rules.RULES) == len(found), "a rule stands there twice"


def test_a_route_without_a_rule_is_found() -> None:
    async def nothing(_request: object) -> None: ...

    assert rules.without_rule([Route("/secret", nothing, methods=["GET"])]) == ["GET /secret", "HEAD /secret"]


async def test_roles_by_routes(site: Site) -> None:
    """403 exactly where the rule says so; what is allowed may still find nothing (404) or refuse an empty form (422)."""
    for name, role in USERS.items():
        browser = await site.signed_in(name)
        token = await token_of(browser, "/console/account")
        for rule in rules.RULES:
            if rule.path in ("/sign-in", "/sign-out"):
                continue
            if rule.method == "GET":
                answer = await browser.get(place(rule))
            else:
                answer = await post(browser, place(rule), token)
            allowed = rule.role is None or role.covers(rule.role)
            assert (answer.status_code == 403) is not allowed, (name, rule, answer.status_code)
            assert answer.status_code < 500, (name, rule)


async def test_without_a_session_nothing_is_told(site: Site) -> None:
    for rule in rules.RULES:
        if rule.role is not None:
            await tells_nothing(site, rule)


async def tells_nothing(site: Site, rule: rules.Rule) -> None:
    browser = site.browser()
    if rule.method == "GET":
        answer = await browser.get(place(rule))
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/sign-in?next=%2Fconsole")
        part = await browser.get(
            place(rule), headers={"HX-Request": "true", "HX-Current-URL": f"{BASE}/console/clicks"}
        )
        assert (part.status_code, part.content) == (401, b"")
        assert part.headers["hx-redirect"].startswith("/console/sign-in")
    else:
        assert (await post(browser, place(rule), "x")).status_code == 401


async def test_changes_need_token_and_origin(site: Site) -> None:
    browser, other = await site.signed_in("adam"), await site.signed_in("ana")
    token, foreign = await token_of(browser, "/console/account"), await token_of(other, "/console/account")
    for rule in CHANGING:
        await needs_token_and_origin(browser, rule, token, foreign)
    assert (await browser.get("/console/account")).status_code == 200, "nothing of that ended the session"


async def needs_token_and_origin(browser: httpx.AsyncClient, rule: rules.Rule, token: str, foreign: str) -> None:
    for wrong in ("", "x", foreign):
        assert (await post(browser, place(rule), wrong)).status_code == 403, wrong
    for origin in ("https://evil.example", "null", "", f"{BASE}.evil.example", "https://127.0.0.1:8081"):
        assert (await post(browser, place(rule), token, origin)).status_code == 403, origin
    answer = await browser.post(place(rule), data={"csrf": token})
    assert answer.status_code == 403, "no Origin at all"
    headers = {"Origin": BASE, "Sec-Fetch-Site": "same-site"}
    assert (await browser.post(place(rule), data={"csrf": token}, headers=headers)).status_code == 403


async def test_signing_in_needs_token_and_origin(site: Site) -> None:
    """Else a stranger's page could sign a reader in as somebody else."""
    browser = site.browser()
    token = await token_of(browser, "/console/sign-in")
    fields = {"name": "ana", "password": PASSWORD}
    assert (await post(browser, "/console/sign-in", "x", **fields)).status_code == 403
    assert (await post(browser, "/console/sign-in", token, "https://evil.example", **fields)).status_code == 403
    assert (await post(site.browser(), "/console/sign-in", token, **fields)).status_code == 403, (
        "another browser's token"
    )
    assert (await post(browser, "/console/sign-in", token, **fields)).status_code == 303


async def test_no_session_from_before_signing_in(site: Site) -> None:
    """Session fixation: a token that was planted is never taken over, and the one before signing in again is ended."""
    browser = site.browser()
    browser.cookies.set("toc-session", "planted" * 6, "127.0.0.1")
    assert (await enter(browser, "ana", PASSWORD)).status_code == 303
    first = browser.cookies["toc-session"]
    assert first != "planted" * 6
    assert (await enter(browser, "ana", PASSWORD)).status_code == 303
    assert browser.cookies["toc-session"] != first
    former = site.browser(cookies={"toc-session": first})
    assert (await former.get("/console/")).status_code == 303


async def test_the_database_holds_no_token(site: Site) -> None:
    browser = await site.signed_in("ana")
    async with site.engine.connect() as connection:
        rows = (await connection.execute(select(session_table))).all()
    assert len(rows) == 1
    assert browser.cookies["toc-session"].encode() not in bytes(rows[0].digest)
    assert len(rows[0].digest) == 32


async def test_cookies(site: Site) -> None:
    """Plain names on loopback only; with TLS the prefix that binds them to this host."""
    answer = await enter(site.browser(), "ana", PASSWORD)
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("toc-session="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


async def test_cookies_with_tls(site: Site) -> None:
    """Behind a proxy, too: the settings say so, never a header."""
    site.desk = replace(site.desk, secure=True)
    browser = site.browser()
    browser.base_url = httpx.URL(BASE.replace("http:", "https:"))
    page = await browser.get("/console/sign-in")
    (form,) = page.headers.get_list("set-cookie")
    token = re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
    headers = {"Origin": BASE.replace("http:", "https:"), "Cookie": form.partition(";")[0]}
    fields = {"csrf": token, "name": "ana", "password": PASSWORD}
    answer = await browser.post("/console/sign-in", data=fields, headers=headers)
    (session, _dropped) = answer.headers.get_list("set-cookie")
    for cookie in (form, session):
        assert cookie.startswith("__Host-toc-")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert (await browser.post("/console/sign-in", data=fields, headers={**headers, "Origin": BASE})).status_code == 403


async def test_a_flood_of_sign_ins_waits_outside(site: Site) -> None:
    """Each check costs memory and a core; those beyond a few are sent away at once, and the others are answered."""
    directory = accounts.LocalDirectory(site.engine)
    asked = [directory.account("ana", "a wrong pass phrase") for _ in range(accounts.HASHES_WAITING + 5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 5
    assert answers.count(None) == accounts.HASHES_WAITING
    assert await directory.account("ana", PASSWORD) is not None


async def test_a_session_ends(site: Site) -> None:
    browser = await site.signed_in("ana")
    site.moved = timedelta(minutes=59)
    assert (await browser.get("/console/")).status_code == 200
    site.moved += timedelta(minutes=59)
    assert (await browser.get("/console/")).status_code == 200, "each request keeps it alive"
    site.moved += timedelta(minutes=61)
    assert (await browser.get("/console/")).status_code == 303, "idle"
    browser = await site.signed_in("ana")
    for _ in range(16):
        site.moved += timedelta(minutes=50)
        last = await browser.get("/console/")
    assert last.status_code == 303, "after twelve hours in any case"


async def test_signing_out_ends_it_on_the_server(site: Site) -> None:
    browser = await site.signed_in("ana")
    kept = browser.cookies["toc-session"]
    answer = await post(browser, "/console/sign-out", await token_of(browser, "/console/account"))
    assert answer.status_code == 303
    assert (await site.browser(cookies={"toc-session": kept}).get("/console/")).status_code == 303


async def test_a_new_password_ends_all_sessions_but_this(site: Site) -> None:
    here, there = await site.signed_in("ana"), await site.signed_in("ana")
    token = await token_of(here, "/console/account")
    fields = {"present": PASSWORD, "new": "quite another phrase", "again": "quite another phrase"}
    wrong = await post(here, "/console/account/password", token, **{**fields, "present": "not this one"})
    assert wrong.status_code == 401
    assert (await post(here, "/console/account/password", token, **{**fields, "again": "x"})).status_code == 422
    assert (await post(here, "/console/account/password", token, **fields)).status_code == 303
    assert (await here.get("/console/")).status_code == 200
    assert (await there.get("/console/")).status_code == 303
    assert (await enter(site.browser(), "ana", PASSWORD)).status_code == 401
    assert (await enter(site.browser(), "ana", "quite another phrase")).status_code == 303


async def test_disabling_and_a_lesser_role_take_hold_at_once(site: Site) -> None:
    browser = await site.signed_in("ana")
    async with site.engine.begin() as connection:
        await accounts.set_role(connection, "ana", Role.VIEWER, actor="command", now=site.now())
    assert (await browser.get("/console/objects/check")).status_code == 403
    async with site.engine.begin() as connection:
        await accounts.disable(connection, "ana", actor="command", now=site.now())
    assert (await browser.get("/console/")).status_code == 303
    assert (await enter(site.browser(), "ana", PASSWORD)).status_code == 401


async def test_the_last_admin_stays(site: Site) -> None:
    async with site.engine.begin() as connection:
        with pytest.raises(Conflict):
            await accounts.disable(connection, "adam", actor="command", now=site.now())
        with pytest.raises(Conflict):
            await accounts.set_role(connection, "adam", Role.ANALYST, actor="command", now=site.now())
        await accounts.set_role(connection, "ana", Role.ADMIN, actor="command", now=site.now())
        await accounts.disable(connection, "adam", actor="command", now=site.now())


class Book:
    """Another place where credentials become accounts, as LDAP will be: quick, so that many guesses are."""

    async def account(self, name: str, password: str) -> Account | None:
        return Account(name, USERS[name]) if name in USERS and password == PASSWORD else None


async def guess(site: Site, name: str, times: int, address: str) -> httpx.Response:
    browser = site.browser(address)
    for _ in range(times):
        answer = await enter(browser, name, "a wrong pass phrase")
    return answer


async def test_a_guesser_waits_longer_each_time(site: Site) -> None:
    site.desk = replace(site.desk, directory=Book())
    assert (await guess(site, "ana", 5, "203.0.113.9")).status_code == 401
    blocked = await enter(site.browser("203.0.113.9"), "ana", PASSWORD)
    assert blocked.status_code == 429, "the right password too: else the answer would tell"
    site.moved = timedelta(seconds=31)
    assert (await guess(site, "ana", 1, "203.0.113.9")).status_code == 401
    site.moved += timedelta(seconds=31)
    assert (await guess(site, "ana", 1, "203.0.113.9")).status_code == 429, "twice as long now"
    site.moved += timedelta(seconds=31)
    assert (await enter(site.browser("203.0.113.9"), "ana", PASSWORD)).status_code == 303, "and every wait ends"


async def test_strangers_lock_nobody_out(site: Site) -> None:
    """Guessers in many networks make an account slow from new places, never from where its owner has signed in."""
    site.desk = replace(site.desk, directory=Book())
    await site.signed_in("ana")
    for number in range(lockout.ACCOUNT.free):
        await guess(site, "ana", 1, f"203.0.{number}.9")
    assert (await enter(site.browser("192.0.2.50"), "ana", PASSWORD)).status_code == 429, "a new place waits"
    assert (await enter(site.browser(), "ana", PASSWORD)).status_code == 303, "the usual one doesn't"
    site.moved = lockout.ACCOUNT.longest
    assert (await enter(site.browser("192.0.2.50"), "ana", PASSWORD)).status_code == 303, "and every wait ends"


async def test_one_password_over_many_names(site: Site) -> None:
    site.desk = replace(site.desk, directory=Book())
    for number in range(lockout.NETWORK.free):
        await guess(site, f"name{number}", 1, "203.0.113.9")
    assert (await guess(site, "ana", 1, "203.0.113.9")).status_code == 429
    assert (await enter(site.browser(), "ana", PASSWORD)).status_code == 303


def without(page: str, name: str) -> str:
    """The page but for the name that was given, the form's own token, and how much of the wait has gone by."""
    return re.sub(r'name="csrf" value="[^"]+"|\(\d+ s\)', "", page).replace(f'value="{name}"', "")


async def test_unknown_names_look_like_known_ones(site: Site) -> None:
    known, unknown = await guess(site, "ana", 6, "203.0.113.9"), await guess(site, "nobody", 6, "203.0.114.9")
    assert known.status_code == unknown.status_code == 429
    assert without(known.text, "ana") == without(unknown.text, "nobody")
    assert "429" not in known.text


async def test_old_failures_are_forgotten(site: Site) -> None:
    site.desk = replace(site.desk, directory=Book())
    await guess(site, "ana", 4, "203.0.113.9")
    site.moved = lockout.FORGET + timedelta(minutes=1)
    assert (await guess(site, "ana", 4, "203.0.113.9")).status_code == 401
    async with site.engine.connect() as connection:
        rows = (await connection.execute(select(sign_ins))).all()
    assert {row.failures for row in rows} == {4}


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 30), (6, 60), (7, 120), (10, 900), (50, 900), (10**6, 900)]
)
def test_the_waits(failures: int, seconds: int) -> None:
    assert lockout.PAIR.wait(failures) == timedelta(seconds=seconds)


async def test_what_staff_does_is_on_record(site: Site) -> None:
    browser = await site.signed_in("ana")
    await guess(site, "ana", 1, "203.0.113.9")
    await post(browser, "/console/sign-out", await token_of(browser, "/console/account"))
    async with site.engine.connect() as connection:
        rows = (await connection.execute(select(audit.c.actor, audit.c.verb).order_by(audit.c.id))).all()
    assert [tuple(row) for row in rows] == [
        ("user:ana", "signed_in"),
        ("network:203.0.113.0/24", "sign_in_failed"),
        ("user:ana", "signed_out"),
    ]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("/console/clicks?action=block", "/console/clicks?action=block"),
        ("/console/clicks?url=https://x.example/", "/console/clicks?url=https://x.example/"),
        ("", "/console/"),
        ("https://evil.example/", "/console/"),
        ("//evil.example/console/", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\\evil.example", "/console/"),
        ("/console/\r\nX: y", "/console/"),
        ("/v1/clicks", "/console/"),
        ("javascript:alert(1)", "/console/"),
    ],
)
def test_signing_in_leads_nowhere_else(given: str, place: str) -> None:
    assert gate.place_after(given) == place


@pytest.mark.parametrize(
    ("password", "why"),
    [("short", "5 characters"), ("aaaaaaaaaaaaaaaa", "repeats"), ("x" * 257, "257"), ("my ana pass phrase", "name")],
)
def test_passwords_that_are_refused(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        accounts.checked_password(password, "ana")


def test_a_password_is_the_same_however_it_was_typed() -> None:
    """NFC: two keyboards may spell ``é`` differently."""
    assert accounts._fits(accounts._hash("cafe\u0301 crème brûlée"), "caf\u00e9 crème brûlée")


async def test_sessions_of_others_are_cleared_out(site: Site) -> None:
    await site.signed_in("ana")
    site.moved = timedelta(hours=13)
    await site.signed_in("vera")
    async with site.engine.connect() as connection:
        users = (await connection.execute(select(session_table.c.user))).scalars().all()
    assert users == ["vera"]
    assert site.desk.ends.idle > sessions.USED_STEP
