"""Finding clicks again, on both databases.

Invariants: a search finds exactly the clicks that fit; pages joined are the whole, each click once, whatever arrives
meanwhile; a filter that is not understood is refused, never ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from redirector import click_search
from redirector.actor import ActorKind
from redirector.clicks import Click, Event
from tests.redirector.record_data import MATCH, click, put
from toc.errors import RequestError
from toc.policy import Action
from toc.store.engine import open_async
from toc.store.schema import holders, messages, people, subject_grams
from toc.store.search_text import grams
from toc.token import NO_REF
from toc.verdict import Level

PEOPLE = {b"rrrrrrr1": "tanaka@example.jp", b"rrrrrrr2": "ünal@example.de", b"sssssss1": "billing@sender.example"}
MAILS = {
    b"mmmmmmm1": ("<1@sender.example>", "ご請求書のお知らせ", b"sssssss1", (b"rrrrrrr1",)),
    b"mmmmmmm2": ("<2@sender.example>", "100% off_today", None, (b"rrrrrrr1", b"rrrrrrr2")),
}


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = open_async(url)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def put_mails(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(insert(people), [{"ref": ref, "address": text} for ref, text in PEOPLE.items()])
        for ref, (message_id, subject, sender, held_by) in MAILS.items():
            fields = {"ref": ref, "time": datetime(2026, 3, 1, tzinfo=UTC), "message_id": message_id}
            fields |= {"subject": subject, "sender_ref": sender, "direction": 0, "size": 1000, "complete": True}
            await connection.execute(insert(messages).values(**fields))
            rows = [{"message_ref": ref, "recipient_ref": person} for person in held_by]
            await connection.execute(insert(holders), rows)
            if pairs := [{"gram": gram, "message_ref": ref} for gram in grams(subject)]:
                await connection.execute(insert(subject_grams), pairs)


CLICKS: tuple[Click, ...] = (
    click(1),
    click(2, "https://login.evil.example/x/%E8%AB%8B?next=a_b", level=Level.DANGEROUS, matches=(MATCH,),
          action=Action.BLOCK, event=Event.SHOWN, reasons=("phishing", "mixed_script"), recipient_ref=b"rrrrrrr2"),
    click(3, "https://docs.evil.example/Form", level=Level.SUSPICIOUS, action=Action.WARN, event=Event.SHOWN,
          reasons=("userinfo",), message_ref=b"mmmmmmm2", recipient_ref=NO_REF, client="198.51.100.9"),
    click(4, "https://docs.evil.example/Form", level=Level.SUSPICIOUS, action=Action.WARN, event=Event.PROCEEDED,
          group=f"{3:032x}", message_ref=b"mmmmmmm2", recipient_ref=NO_REF, client="198.51.100.9"),
    click(5, "http://192.0.2.1/", message_ref=NO_REF, recipient_ref=NO_REF, actor=ActorKind.AUTOMATED,
          client="2001:db8:1:2ff::7"),
)  # fmt: skip

FOUND: Mapping[str, tuple[dict[str, str], list[int]]] = {
    "everything, newest first": ({}, [5, 4, 3, 2, 1]),
    "a recipient named in the seal, or one of several holders": ({"recipient": "tanaka@example.jp"}, [4, 3, 1]),
    "addresses in their one spelling": ({"recipient": "Ünal@EXAMPLE.de"}, [4, 3, 2]),
    "nobody by that name": ({"recipient": "x@example.jp"}, []),
    "sender": ({"sender": "billing@sender.example"}, [2, 1]),
    "message id": ({"message_id": "<2@sender.example>"}, [4, 3]),
    "two characters of a subject": ({"subject": "請求"}, [2, 1]),
    "four of them": ({"subject": "ご請求書"}, [2, 1]),
    "no wildcard in a subject": ({"subject": "%_"}, []),
    "a percent sign in a subject": ({"subject": "100% off_t"}, [4, 3]),
    "letters of a subject in any case": ({"subject": "OFF"}, [4, 3]),
    "a part of a URL": ({"url": "evil.example/x"}, [2]),
    "a part of a URL in any case": ({"url": "form"}, [4, 3]),
    "a part of a URL in its own script": ({"url": "請"}, [2]),
    "no wildcard in a URL": ({"url": "a%b"}, []),
    "one character of a URL": ({"url": "_"}, [2]),
    "the whole URL": ({"url": "https://docs.evil.example/Form"}, [4, 3]),
    "exactly this URL": ({"exact_url": "HTTPS://docs.evil.example:443/Form"}, [4, 3]),
    "not a longer one": ({"exact_url": "https://docs.evil.example/"}, []),
    "host": ({"host": "docs.evil.example"}, [4, 3]),
    "host in capitals": ({"host": "DOCS.evil.example"}, [4, 3]),
    "a host is no suffix": ({"host": "evil.example"}, []),
    "registrable domain": ({"domain": "evil.example"}, [4, 3, 2]),
    "action": ({"action": "block"}, [2]),
    "level": ({"level": "suspicious"}, [4, 3]),
    "event": ({"event": "proceeded"}, [4]),
    "person or automated": ({"actor": "automated"}, [5]),
    "reason": ({"reason": "mixed_script"}, [2]),
    "half a reason is none": ({"reason": "mixed"}, []),
    "source": ({"source": "openphish"}, [2]),
    "a client": ({"network": "198.51.100.9"}, [4, 3]),
    "its neighbour": ({"network": "198.51.100.8"}, []),
    "its network": ({"network": "198.51.100.0/24"}, [4, 3]),
    "a larger network": ({"network": "198.48.0.0/12"}, [4, 3]),
    "one on no byte's edge": ({"network": "203.0.112.0/22"}, [2, 1]),
    "everywhere": ({"network": "0.0.0.0/0"}, [4, 3, 2, 1]),
    "an IPv6 network": ({"network": "2001:db8:1::/48"}, [5]),
    "an IPv6 client": ({"network": "2001:db8:1:2ff::7"}, [5]),
    "group": ({"group": f"{3:032x}"}, [4, 3]),
    "message": ({"message_ref": b"mmmmmmm2".hex()}, [4, 3]),
    "from is included, to is not": ({"from": "2026-03-01T12:02:00Z", "to": "2026-03-01T12:04:00Z"}, [3, 2]),
    "all filters together": ({"domain": "evil.example", "url": "evil", "subject": "off", "event": "shown"}, [3]),
    "subject and person": ({"subject": "請求", "recipient": "tanaka@example.jp"}, [1]),
}


async def found(url: str, filters: Mapping[str, str], *, limit: int = 100) -> list[int]:
    """Numbers of the clicks, over all pages."""
    numbers, cursor = [], ""
    async with connected(url) as connection:
        while cursor is not None:
            page, cursor = await click_search.search(connection, filters, limit=limit, cursor=cursor)
            numbers += [int(item["id"], 16) for item in page]
    return numbers


async def test_each_filter_finds_exactly_what_fits(database):
    await put_mails(database)
    await put(database, *CLICKS)
    wrong = {name: got for name, (filters, want) in FOUND.items() if (got := await found(database, filters)) != want}
    assert wrong == {}


async def test_a_click_tells_its_mail_and_people(database):
    await put_mails(database)
    await put(database, *CLICKS)
    async with connected(database) as connection:
        one = await click_search.get(connection, f"{2:032x}")
        shared = await click_search.get(connection, f"{3:032x}")
        assert await click_search.get(connection, "none") is None
    assert (one["subject"], one["sender"], one["recipients"]) == (
        "ご請求書のお知らせ", "billing@sender.example", ["ünal@example.de"],
    )  # fmt: skip
    assert one["matches"][0]["source"] == "openphish"
    assert one["time"] == "2026-03-01T12:02:00.000Z"
    assert sorted(shared["recipients"]) == ["tanaka@example.jp", "ünal@example.de"]


async def test_pages_stay_whole_while_clicks_arrive(database):
    """New ones, and late ones that come out of a spool with an old time."""
    await put(database, *(click(number) for number in range(10, 30)))
    async with connected(database) as connection:
        first, cursor = await click_search.search(connection, {}, limit=7)
    await put(database, click(40), click(5), click(25, id="f" * 32))
    seen = [item["id"] for item in first]
    while cursor:
        async with connected(database) as connection:
            page, cursor = await click_search.search(connection, {}, limit=7, cursor=cursor)
        seen += [item["id"] for item in page]
    before = [f"{number:032x}" for number in range(10, 30)]
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each in before] == before[::-1]


REFUSED = (
    {"colour": "red"}, {"action": "deny"}, {"level": "5"}, {"event": "click"}, {"actor": "robot"}, {"from": "yesterday"},
    {"zone": "Mars/Base"}, {"network": "300.1.1.1"}, {"message_ref": "xyz"}, {"network": "2001:db8::/20"},
    {"exact_url": "no url"},
)  # fmt: skip


@pytest.mark.parametrize("filters", REFUSED, ids=str)
async def test_what_is_not_understood_is_refused(database, filters):
    with pytest.raises(RequestError):
        await found(database, filters)


async def test_a_foreign_cursor_is_refused(database):
    async with connected(database) as connection:
        for cursor in ("!", "bm9uZQ==", "MS4xLjE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE="):
            with pytest.raises(RequestError):
                await click_search.search(connection, {}, limit=5, cursor=cursor)


DAYS = {
    "a day in Tokyo begins at 15:00 UTC of the day before": ("Asia/Tokyo", "2026-03-02", "2026-03-03",
        datetime(2026, 3, 1, 15, tzinfo=UTC), datetime(2026, 3, 2, 15, tzinfo=UTC)),
    "23 hours where clocks go forward": ("Europe/Berlin", "2026-03-29", "2026-03-30",
        datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)),
    "25 hours where they go back": ("America/New_York", "2026-11-01", "2026-11-02",
        datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC)),
    "UTC where no zone is named": ("", "2026-03-29", "2026-03-30",
        datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)),
}  # fmt: skip


@pytest.mark.parametrize("name", DAYS)
async def test_a_day_is_the_day_of_its_zone(database, name):
    zone, day, following, start, end = DAYS[name]
    base = click(0).time
    minutes = [(moment - base).total_seconds() / 60 for moment in (start, end)]
    second = 1 / 60
    places = {1: minutes[0] - second, 2: minutes[0], 3: minutes[1] - second, 4: minutes[1]}
    await put(database, *(click(at, id=f"{number:032x}") for number, at in places.items()))
    filters = {"from": day, "to": following} | ({"zone": zone} if zone else {})
    assert await found(database, filters) == [3, 2]
