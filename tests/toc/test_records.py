"""The record of rewritten mails and its spool, the trail and the keys, on both databases.

Invariants: a message is recorded once, whoever repeats it; what the database could not take waits and arrives once; erasing
a person is one statement; no key can be read from the database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toc import access, audit
from toc.errors import Forbidden, Invalid, NotFound, Unauthenticated
from toc.receipts import ReceiptSpool
from toc.records import LinkRow, MessageRecord, store
from toc.store.engine import open_async
from toc.store.schema import api_keys, first_seen, holders, links, messages, people

NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    opened = open_async(database)
    yield opened
    await opened.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.begin() as opened:
        yield opened


def link_row(url: str, **more: object) -> LinkRow:
    row = LinkRow(
        part="1.2", kind="anchor", url=url, spelling="", outcome="rewritten", reason="sealed", link="l", level=1
    )
    return msgspec.structs.replace(row, **more)


def record(ref: bytes = b"message1", **more: object) -> MessageRecord:
    made = MessageRecord(
        ref=ref,
        time=NOW,
        message_id="<1@a.example>",
        sender_ref=b"sender01",
        subject="ご請求書 🧾",
        direction=0,
        size=4_000_000_000,
        complete=True,
        worst_level=1,
        recipients=(b"person01",),
        people={"a@example.jp": b"person01", "billing@a.example": b"sender01"},
        links=(link_row("https://www.shop.example/a?b=c"), link_row("mailto:x", outcome="kept", reason="scheme")),
    )
    return msgspec.structs.replace(made, **more)


async def counts(connection: AsyncConnection) -> dict[str, int]:
    tables = (people, messages, holders, links)
    return {t.name: await connection.scalar(select(func.count()).select_from(t)) for t in tables}


async def test_a_message_is_recorded_once_and_gains_holders(connection):
    await store(connection, record())
    await store(connection, record())
    assert await counts(connection) == {"people": 2, "messages": 1, "holders": 1, "links": 2}
    await store(connection, record(recipients=(b"person02",), people={"b@example.jp": b"person02"}))
    assert await counts(connection) == {"people": 3, "messages": 1, "holders": 2, "links": 2}
    row = (await connection.execute(select(messages))).mappings().one()
    assert (row["subject"], row["time"], row["size"]) == ("ご請求書 🧾", NOW, 4_000_000_000)


async def test_links_stand_under_their_host_and_domain(connection):
    await store(connection, record())
    rows = (await connection.execute(select(links.c.host, links.c.domain).order_by(links.c.id))).all()
    assert [tuple(row) for row in rows] == [("www.shop.example", "shop.example"), ("", "")]


async def test_hosts_are_counted_once_a_message_and_by_days(connection):
    twice = (link_row("https://www.shop.example/a"), link_row("https://www.shop.example/b"))
    await store(connection, record(b"message1", links=twice))
    await store(connection, record(b"message2", links=twice, time=NOW + timedelta(minutes=20)))
    await store(connection, record(b"message3", links=twice, time=NOW + timedelta(hours=1), recipients=(b"p1", b"p2")))
    row = (await connection.execute(select(first_seen).where(first_seen.c.name == "www.shop.example"))).one()
    assert (row.time, row.days, row.messages, row.people) == (NOW, 2, 3, 4)


async def test_pseudonymous_records_hold_no_address(connection):
    await store(connection, record(people={}))
    assert await counts(connection) == {"people": 0, "messages": 1, "holders": 1, "links": 2}


async def test_erasing_a_person_is_one_statement(connection):
    await store(connection, record())
    assert (await connection.execute(delete(people).where(people.c.address == "a@example.jp"))).rowcount == 1
    rest = await counts(connection)
    assert (rest["people"], rest["messages"], rest["holders"]) == (1, 1, 1)


async def test_odd_texts_are_stored_whole_or_cleaned_never_lost(connection):
    """NUL is what PostgreSQL does not take, a lone surrogate what neither does: receipts hold what mails hold."""
    await store(connection, record(subject="a\0b\ud800c", links=(link_row("https://a.example/\0"),)))
    assert await counts(connection) == {"people": 2, "messages": 1, "holders": 1, "links": 1}
    subject = await connection.scalar(select(messages.c.subject))
    assert subject == "a\ufffdb\ufffdc"


async def test_a_spooled_receipt_arrives_once(engine, tmp_path):
    spool = ReceiptSpool(tmp_path / "receipts")
    spool.keep(record())
    spool.keep(record())
    spool.keep(record(b"message2", time=NOW + timedelta(seconds=1)))
    (tmp_path / "receipts" / "000-broken").write_bytes(b"\xc1")
    assert len(spool.waiting()) == 3
    await spool.ship(engine)
    assert spool.waiting() == []
    async with engine.connect() as connection:
        assert (await counts(connection))["messages"] == 2
    assert [path.name for path in (tmp_path / "receipts").iterdir()] == [".broken-000-broken"]


async def test_receipts_wait_while_the_database_is_away(tmp_path):
    spool = ReceiptSpool(tmp_path / "receipts")
    spool.keep(record())
    away = open_async(f"sqlite:///{tmp_path}/missing/toc.db")
    await spool.ship(away)
    await away.dispose()
    await asyncio.sleep(
        0.2
    )  # aiosqlite's thread reports the failed connection once more, to a loop that should still be there
    assert len(spool.waiting()) == 1


async def test_the_trail_is_read_newest_first_and_page_by_page(connection):
    for number in range(5):
        await audit.note(connection, NOW, "command", "verb", f"s{number}", "d" * 5000)
    first = await audit.page(connection, 2)
    second = await audit.page(connection, 10, first[-1]["id"])
    assert [row["subject"] for row in first + second] == ["s4", "s3", "s2", "s1", "s0"]
    assert (first[0]["time"], len(first[0]["detail"])) == (NOW, 4000)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_opens_what_it_may_until_it_is_revoked(engine):
    clock = Clock()
    ring = access.KeyRing(engine, clock)
    async with engine.begin() as connection:
        text = await access.add(connection, "siem", ["read"], random=lambda n: b"k" * n, now=NOW)
        row = (await connection.execute(select(api_keys))).mappings().one()
        assert text.removeprefix(access.PREFIX).encode() not in row["digest"]
    principal = await ring.principal(f"Bearer {text}")
    principal.require(access.Scope.READ)
    with pytest.raises(Forbidden):
        principal.require(access.Scope.ADMIN)
    async with engine.begin() as connection:
        await access.revoke(connection, row["id"], now=NOW)
        with pytest.raises(NotFound):
            await access.revoke(connection, row["id"], now=NOW)
    clock.now = access.CACHE_SECONDS
    for wrong in (f"Bearer {text}", f"Bearer {text}x", "Bearer toc_", "Basic abc", ""):
        with pytest.raises(Unauthenticated):
            await ring.principal(wrong)


async def test_a_key_needs_a_scope_that_exists(connection):
    for scopes in ([], ["everything"], ["read", "x"]):
        with pytest.raises(Invalid):
            await access.add(connection, "k", scopes, random=bytes, now=NOW)


async def test_a_receipt_is_recorded_by_two_at_once(engine):
    """Two nodes of a gateway hand over the same mail in the same moment: neither fails, and it is one message."""

    async def once() -> None:
        for _attempt in range(20):
            with contextlib.suppress(Exception):
                async with engine.begin() as connection:
                    await store(connection, record())
                return

    await asyncio.gather(once(), once(), once())
    async with engine.connect() as connection:
        found = await counts(connection)
    assert (found["messages"], found["links"]) == (1, 2)
