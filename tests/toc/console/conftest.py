"""The console as an application, on a real SQLite database that `toc init` made, with an account of each role."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.redirector.record_data import click, put
from toc import accounts, keys, management, records, startup
from toc.accounts import Role
from toc.console import app as console
from toc.console.desk import Desk
from toc.knowledge import Knowledge, utc_now
from toc.records import LinkRow, MessageRecord
from toc.sightings import StoreReader
from toc.store import engine as store
from toc.verdict import Level, Match, Sign, ThreatType

PASSWORD = "a long enough pass phrase"
BASE = "http://127.0.0.1:8081"
USERS = {"vera": Role.VIEWER, "ana": Role.ANALYST, "adam": Role.ADMIN}

HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}{% raw %}", "a\u202egpj.exe",
    "zero\u200bwidth\ufeff", "bell\x07null\x00esc\x1b[31m", "a\u2028b\u2029c", "]]>--><!--", "javascript:alert(1)",
    "\u2066isolate", "tag\U000e0041", "'onfocus=alert(1) autofocus='",
)  # fmt: skip
"""What strangers write where they may write."""


@dataclass
class Site:
    """`clock` can be moved; `address` is the client's."""

    desk: Desk
    engine: AsyncEngine
    database: str
    moved: timedelta = timedelta()
    address: str = "198.51.100.7"
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def now(self) -> datetime:
        return utc_now() + self.moved

    def browser(self, address: str = "", **more: object) -> httpx.AsyncClient:
        """A browser of its own, without cookies. Its unsafe requests state their Origin, as browsers do."""
        root = Starlette(routes=[Mount("/console", console.build(self.desk))])
        transport = httpx.ASGITransport(root, client=(address or self.address, 5000))
        made = httpx.AsyncClient(transport=transport, base_url=BASE, **more)
        self.clients.append(made)
        return made

    async def signed_in(self, name: str) -> httpx.AsyncClient:
        browser = self.browser()
        answer = await enter(browser, name, PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser


async def token_of(browser: httpx.AsyncClient, place: str) -> str:
    page = await browser.get(place)
    return re.search(r'name="csrf"(?: value| content)="([^"]+)"', page.text).group(1)


async def enter(browser: httpx.AsyncClient, name: str, password: str, **more: str) -> httpx.Response:
    token = await token_of(browser, "/console/sign-in")
    return await post(browser, "/console/sign-in", token, name=name, password=password, **more)


async def post(browser: httpx.AsyncClient, place: str, token: str, origin: str = BASE, **fields: str) -> httpx.Response:
    return await browser.post(place, data={"csrf": token, **fields}, headers={"Origin": origin})


@pytest.fixture(scope="session")
def made_passwords() -> dict[str, str]:
    """One hash for all tests: each takes a while, as it must."""
    return {"hash": accounts._hash(PASSWORD)}


@pytest.fixture
async def site(tmp_path: Path, made_passwords: dict[str, str]) -> AsyncIterator[Site]:
    (tmp_path / "toc.toml").write_text('[service]\npublic_url = "https://click.example.com"\n')
    (tmp_path / "spool").mkdir()
    now = utc_now()
    keyset = keys.create("d-test", "default", ("https://click.example.com",), random=os.urandom, now=now)
    keys.save(tmp_path / "keyset.json", keyset)
    ready = startup.read(tmp_path / "toc.toml", {})
    await asyncio.to_thread(store.upgrade, ready.config.database)
    engine = store.open_async(ready.config.database)
    async with engine.begin() as connection:
        for name, role in USERS.items():
            values = {"name": name, "password": made_passwords["hash"], "role": role.value, "created": now}
            await connection.execute(accounts.users.insert().values(**values, failures=0, timezone="", language=""))
    desk = management._desk(ready, engine, Knowledge(ready), StoreReader(ready.config.database, time.monotonic))
    found = Site(desk, engine, ready.config.database)
    found.desk = replace(desk, clock=found.now)
    yield found
    for client in found.clients:
        await client.aclose()
    await engine.dispose()


def message(number: int, subject: str, url: str, sender: str, recipient: str) -> MessageRecord:
    row = LinkRow(
        part="1", kind="text", url=url, spelling=url, outcome="rewritten", reason="sealed",
        link="https://click.example.com/u/x", level=1,
    )  # fmt: skip
    ref, person, author = number.to_bytes(8, "big"), b"r%07d" % number, b"s%07d" % number
    return MessageRecord(
        ref=ref, time=utc_now(), message_id=f"<{subject}@x>", sender_ref=author, subject=subject, direction=0, size=99,
        complete=True, worst_level=1, recipients=(person,), people={recipient: person, sender: author}, links=(row,),
    )  # fmt: skip


async def fill(site: Site, number: int, text: str, url: str) -> None:
    """One mail and one click on it, with `text` wherever a stranger may write."""
    async with site.engine.begin() as connection:
        await records.store(connection, message(number, text, url, f"{text}@s.example", f"{text}@r.example"))
    ref, person = number.to_bytes(8, "big"), b"r%07d" % number
    matches = tuple(
        Match(source, "g1", url.partition("://")[2], ThreatType.OTHER, Level.DANGEROUS, text, line=3)
        for source in ("objects", "a-list")
    )
    more = {"matches": matches, "signs": (Sign("userinfo", 40, text),), "silent": (text,), "reasons": ("other", text)}
    made = click(
        number,
        url,
        message_ref=ref,
        recipient_ref=person,
        user_agent=text,
        time=utc_now(),
        level=Level.DANGEROUS,
        **more,
    )
    await put(site.database, made)
