"""The time machine, on both databases.

Invariants: it names exactly those clicks and held links that the object, once added, would meet; what it says would have
happened is what the same click does with the object there; it changes nothing; who clicked himself holds no unclicked link.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from redirector.actor import ActorKind
from redirector.clicks import Event
from reputation.forms import forms
from reputation.objects import ObjectSet, parse_object
from tests.redirector.record_data import MATCH, START, click, put
from toc import impact as machine
from toc.impact import Impact, impact, warnings
from toc.policy import Action, Policy
from toc.records import LinkRow, MessageRecord, store
from toc.store.engine import open_async
from toc.store.schema import metadata
from toc.url import parse
from toc.verdict import Level

NOW = START + timedelta(days=1)
ANA, BEN, EVA = b"rrrrrrra", b"rrrrrrrb", b"rrrrrrre"
PEOPLE = {"ana@example.com": ANA, "ben@example.com": BEN, "eva@example.com": EVA}

EVIL = "https://login.evil.example/pay?u=1"
WRAPPED = "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fdeep.evil.example%2Fx&data=05%7C02&sdata=x&reserved=0"
URLS = {
    "evil": EVIL,
    "other path": "https://login.evil.example/home",
    "port and escapes": "http://login.evil.example:8080//%70ay?u=1",
    "a neighbour": "https://notevil.example/pay",
    "below": "https://evil.example/",
    "wrapped": WRAPPED,
    "address": "http://192.0.2.77/x",
    "mapped address": "http://[::ffff:c000:24d]/x",
    "shared hosting": "https://one.github.io/",
    "another of it": "https://two.github.io/",
    "unharmed": "https://www.shop.example/",
}


def mail(number: int, url: str, *recipients: bytes, outcome: str = "rewritten") -> MessageRecord:
    link = LinkRow(part="1", kind="a", url=url, spelling="", outcome=outcome, reason="sealed", link="x", level=None)
    return MessageRecord(
        ref=b"m" + number.to_bytes(7, "big"), time=START, message_id=f"<{number}@example.org>", sender_ref=None,
        subject=f"mail {number}", direction=0, size=1, complete=True, worst_level=None, recipients=recipients,
        people=PEOPLE, links=(link, link),
    )  # fmt: skip


async def filled(url: str) -> None:
    """A mail for each of `URLS`, held by Ana and Ben; Ana has clicked in each, a program for Ben."""
    engine = open_async(url)
    async with engine.begin() as connection:
        for number, target in enumerate(URLS.values()):
            await store(connection, mail(number, target, ANA, BEN))
        await store(connection, mail(50, EVIL, EVA, outcome="kept"))
    await engine.dispose()
    for number, target in enumerate(URLS.values()):
        ref = b"m" + number.to_bytes(7, "big")
        await put(
            url,
            click(2 * number, target, message_ref=ref, recipient_ref=ANA),
            click(2 * number + 1, target, message_ref=ref, recipient_ref=BEN, actor=ActorKind.AUTOMATED),
        )


def asked(url: str, kind: str, value: str, action: str = "block", days: int = 30, **more: int) -> Impact:
    entry = parse_object(
        {"type": kind, "value": value, "action": action, "owner": "x", "expires": NOW + timedelta(days=1)},
        object_id="o", created=NOW,
    )  # fmt: skip

    async def ask() -> Impact:
        engine = open_async(url)
        try:
            async with engine.connect() as connection:
                return await impact(connection, entry, Policy(), since=NOW - timedelta(days=days), now=NOW, **more)
        finally:
            await engine.dispose()

    return asyncio.run(ask())


ENTRIES = [
    ("domain", "evil.example", "sub-hosts, and inside wrappers"),
    ("domain", "login.evil.example", "a host below the registrable domain"),
    ("domain", "*.evil.example", "sub-hosts only"),
    ("domain", "github.io", "a suffix of many owners"),
    ("domain", "example", "a top-level domain"),
    ("domain", "protection.outlook.com", "the wrapper itself"),
    ("domain", "nobody.example", "not on record"),
    ("url", EVIL, "exact, whatever scheme, port and escapes"),
    ("url", "https://login.evil.example/pay", "every query of its path"),
    ("url", "https://evil.example/", "a root"),
    ("url", "https://deep.evil.example/x", "inside a wrapper"),
    ("ip", "192.0.2.77", "an address in both spellings"),
    ("ip", "192.0.2.0/24", "a network"),
    ("ip", "2001:db8::/32", "not on record"),
]


@pytest.fixture
def record(database: str) -> str:
    asyncio.run(filled(database))
    return database


def test_it_names_exactly_what_the_object_would_meet(record: str) -> None:
    numbers = {target: place for place, target in enumerate(URLS.values())}
    for kind, value, why in ENTRIES:
        entry = parse_object({"type": kind, "value": value}, object_id="o", created=NOW)
        met = {
            url for url in URLS.values()
            if any(ObjectSet.of([entry]).match(reading, NOW) for reading in forms(parse(url)).readings)
        }  # fmt: skip
        found = asked(record, kind, value)
        assert sorted(one.click["url"] for one in found.clicks) == sorted(
            parse(u).href for u in met for _ in range(2)
        ), why
        assert {one.would for one in found.clicks} <= {Action.BLOCK}
        expected = {(f"<{numbers[url]}@example.org>", "ben@example.com") for url in met}
        assert {(row.message_id, row.recipient) for row in found.held} == expected, why
        assert len(found.held) == len(expected), "two links of one mail to one target are one"
        assert (found.more_clicks, found.more_held) == (False, False)


def test_it_changes_nothing(record: str) -> None:
    async def contents() -> list[list[object]]:
        engine = open_async(record)
        async with engine.connect() as connection:
            found = [list(await connection.execute(select(table))) for table in metadata.sorted_tables]
        await engine.dispose()
        return found

    before = asyncio.run(contents())
    asked(record, "domain", "evil.example")
    assert asyncio.run(contents()) == before


def test_what_would_have_happened_follows_from_the_evidence_and_the_policy(database: str) -> None:
    made = [
        click(0),
        click(1, level=Level.DANGEROUS, action=Action.BLOCK, event=Event.SHOWN, matches=(MATCH,)),
        click(2, profile=1, action=Action.WARN, event=Event.SHOWN),
    ]
    asyncio.run(put(database, *made))
    expected = {
        "block": ["block", "block", "block"],
        "warn": ["warn", "block", "block"],  # the strict profile blocks what is suspicious
        "log": ["allow", "block", "warn"],
        "allow": ["allow", "block", "allow"],  # an approval never beats a threat
        "override": ["allow", "allow", "allow"],
    }
    for action, would in expected.items():
        found = asked(database, "domain", "shop.example", action)
        assert [one.would.code for one in reversed(found.clicks)] == would, action


def test_only_clicks_of_the_asked_days(record: str) -> None:
    assert not asked(record, "domain", "evil.example", days=0).clicks
    assert asked(record, "domain", "evil.example", days=0).held, "links are held however old they are"


def test_more_than_an_answer_holds_is_said(record: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(record, "domain", "evil.example", most=3)
    assert (len(found.clicks), found.more_clicks) == (3, True)
    assert found.more_held
    assert 0 < len(found.held) <= 3
    monkeypatch.setattr(machine, "MOST_DOMAINS", 0)
    assert len(asked(record, "domain", "github.io", most=4).clicks) == 4
    assert len(asked(record, "domain", "github.io", most=1).clicks) == 1


def test_a_broad_entry_is_told_apart(record: str) -> None:
    found = asked(record, "domain", "github.io")
    entry = parse_object({"type": "domain", "value": "co.uk"}, object_id="o", created=NOW)
    assert any("many owners" in line for line in warnings(entry, found, frozenset()))
    entry = parse_object({"type": "domain", "value": "shop.example"}, object_id="o", created=NOW)
    assert any("popular" in line for line in warnings(entry, found, frozenset(["shop.example"])))
    assert warnings(entry, asked(record, "domain", "shop.example"), frozenset()) == ()


def test_a_familiar_host_is_told(database: str) -> None:
    async def many() -> None:
        engine = open_async(database)
        for day in range(8):
            record = mail(day, "https://www.shop.example/", ANA, BEN)
            async with engine.begin() as connection:
                await store(connection, _later(record, day))
        await engine.dispose()

    asyncio.run(many())
    found = asked(database, "domain", "shop.example")
    entry = parse_object({"type": "domain", "value": "shop.example"}, object_id="o", created=NOW)
    assert any("familiar" in line for line in warnings(entry, found, frozenset()))


def _later(record: MessageRecord, days: int) -> MessageRecord:
    return msgspec.structs.replace(record, time=record.time + timedelta(days=days))
