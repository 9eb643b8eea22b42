"""Finding clicks again, on SQLite and on PostgreSQL.

Invariants: each filter finds the clicks that fit and no other; pages follow one another without a gap or a repetition while
clicks arrive; whatever the number of hits, the two ways of a search find the same.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from redirector import click_narrowing, click_search
from redirector.actor import ActorKind
from redirector.clicks import Event
from tests.redirector.record_data import MATCH, SIGN, START, click, ids, put
from toc.errors import RequestError
from toc.policy import Action
from toc.records import LinkRow, MessageRecord, store
from toc.store.engine import open_async
from toc.verdict import Level

MAIL = b"mmmmmmm1"
OTHER = b"mmmmmmm2"
PERSON, SECOND, SENDER = b"rrrrrrr1", b"rrrrrrr2", b"sssssss1"


def message(ref: bytes, subject: str, *recipients: bytes) -> MessageRecord:
    return MessageRecord(
        ref=ref, time=START, message_id=f"<{ref.decode()}@example.org>", sender_ref=SENDER, subject=subject, direction=0,
        size=1, complete=True, worst_level=None, recipients=recipients,
        people={"one@example.com": PERSON, "two@example.com": SECOND, "boss@example.org": SENDER},
        links=(LinkRow(part="1", kind="a", url="https://www.shop.example/", spelling="", outcome="rewritten", reason="sealed",
                       link="x", level=None),),
    )  # fmt: skip


async def filled(url: str) -> None:
    engine = open_async(url)
    async with engine.begin() as connection:
        await store(connection, message(MAIL, "請求書のご案内 100%_x", PERSON))
        await store(connection, message(OTHER, "Lunch on Friday", PERSON, SECOND))
    await engine.dispose()
    await put(
        url,
        click(0),
        click(1, "https://login.evil.example/Pay?a=1", level=Level.DANGEROUS, action=Action.BLOCK, event=Event.SHOWN,
              reasons=("phishing", "malware"), matches=(MATCH,)),
        click(2, "https://xn--80ak6aa92e.com/", reasons=("punycode",), signs=(SIGN,), level=Level.SUSPICIOUS, action=Action.WARN,
              event=Event.PROCEEDED, client="2001:db8:1:2::7"),
        click(3, message_ref=OTHER, recipient_ref=bytes(8), actor=ActorKind.AUTOMATED, actor_reason="prefetch"),
        click(4, "https://a.example/100%25_x", message_ref=OTHER, recipient_ref=SECOND),
    )  # fmt: skip


def find(database: str, **filters: str) -> list[str]:
    """Ids, oldest first."""

    async def ask() -> list[str]:
        engine = open_async(database)
        try:
            async with engine.connect() as connection:
                found, _ = await click_search.search(
                    connection, {k.rstrip("_"): v for k, v in filters.items()}, limit=50
                )
                return [item["id"] for item in reversed(found)]
        finally:
            await engine.dispose()

    return asyncio.run(ask())


CASES = [
    ({"recipient": "one@example.com"}, [0, 1, 2, 3], "named in the seal, or holder of a mail whose link names nobody"),
    ({"recipient": "TWO@example.com"}, [3, 4], "addresses have no case"),
    ({"recipient": "nobody@example.com"}, [], "not known"),
    ({"sender": "boss@example.org"}, [0, 1, 2, 3, 4], "of the mail"),
    ({"message_id": "<mmmmmmm2@example.org>"}, [3, 4], "exact"),
    ({"subject": "請求"}, [0, 1, 2], "two characters are a word"),
    ({"subject": "求書の"}, [0, 1, 2], "more than a pair"),
    ({"subject": "求案"}, [], "each pair, but not side by side"),
    ({"subject": "lunch"}, [3, 4], "a part in another case"),
    ({"subject": "100%_x"}, [0, 1, 2], "wildcards stand for themselves"),
    ({"subject": "10__%"}, [], "wildcards stand for themselves"),
    ({"url": "evil"}, [1], "a part"),
    ({"url": "in.ev"}, [1], "a part over a dot"),
    ({"url": "/PAY?"}, [1], "a part in another case"),
    ({"url": "ev"}, [1], "two characters are read without an index"),
    ({"url": "https://login.evil.example/Pay?a=1"}, [1], "a whole one"),
    ({"url": "%25_x"}, [4], "wildcards stand for themselves"),
    ({"url": 'x" OR "y'}, [], "no language of its own"),
    ({"host": "LOGIN.evil.example"}, [1], "hosts have no case"),
    ({"domain": "evil.example"}, [1], "the registrable domain"),
    ({"action": "block"}, [1], "a word"),
    ({"level": "suspicious"}, [2], "a word"),
    ({"event": "proceeded"}, [2], "a word"),
    ({"actor": "automated"}, [3], "a word"),
    ({"reason": "malware"}, [1], "one of several"),
    ({"reason": "mal"}, [], "a code is whole"),
    ({"source": "openphish"}, [1], "of the evidence"),
    ({"network": "203.0.113.9/24"}, [0, 1, 3, 4], "the network of the address"),
    ({"network": "2001:db8:1:2::7"}, [2], "one address"),
    ({"from": "2026-03-01T12:02:00Z"}, [2, 3, 4], "from a moment on"),
    ({"to": "2026-03-01T12:02:00Z"}, [0, 1], "before a moment"),
    ({"from": "2026-03-01T21:02", "to": "2026-03-01T21:04", "zone": "Asia/Tokyo"}, [2, 3], "in the query's zone"),
    ({"reason": "phishing", "subject": "請求", "url": "evil", "recipient": "one@example.com"}, [1], "all together"),
]


@pytest.fixture(params=["few", "many"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of a search, whatever the number of hits."""
    if request.param == "many":
        monkeypatch.setattr(click_narrowing, "FEW", 0)


@pytest.mark.usefixtures("way")
def test_each_filter_finds_what_fits_and_nothing_else(database: str) -> None:
    asyncio.run(filled(database))
    wrong = {why: found for wanted, expected, why in CASES if (found := find(database, **wanted)) != ids(expected)}
    assert not wrong


@pytest.mark.parametrize(
    ("day", "zone", "first", "last"),
    [
        ("2026-03-02", "Asia/Tokyo", datetime(2026, 3, 1, 15, tzinfo=UTC), datetime(2026, 3, 2, 14, 59, tzinfo=UTC)),
        (
            "2026-03-29",
            "Europe/Berlin",
            datetime(2026, 3, 28, 23, tzinfo=UTC),
            datetime(2026, 3, 29, 21, 59, tzinfo=UTC),
        ),
        (
            "2026-10-25",
            "Europe/Berlin",
            datetime(2026, 10, 24, 22, tzinfo=UTC),
            datetime(2026, 10, 25, 22, 59, tzinfo=UTC),
        ),
    ],
    ids=["Tokyo", "a day of 23 hours", "a day of 25 hours"],
)
def test_a_day_is_a_day_of_its_zone(database: str, day: str, zone: str, first: datetime, last: datetime) -> None:
    minutes = [int((moment - START).total_seconds() // 60) for moment in (first, last)]
    before, after = minutes[0] - 1, minutes[1] + 1
    asyncio.run(put(database, *map(click, (before, *minutes, after))))
    following = datetime.fromisoformat(day).toordinal() + 1
    found = find(database, from_=day, to=datetime.fromordinal(following).date().isoformat(), zone=zone)
    assert found == ids(minutes)


async def test_pages_stay_whole_while_clicks_arrive(database: str) -> None:
    await put(database, *(click(number) for number in range(25)))
    engine = open_async(database)
    seen: list[str] = []
    cursor = ""
    extra = 100
    async with engine.connect() as connection:
        while True:
            found, following = await click_search.search(connection, {}, limit=10, cursor=cursor)
            seen += [item["id"] for item in found]
            await connection.rollback()
            await put(database, click(extra))
            extra += 1
            if following is None:
                break
            cursor = following
    await engine.dispose()
    assert seen == list(reversed(ids(range(25))))


@pytest.mark.parametrize(
    "filters",
    [{"hots": "x"}, {"action": "x"}, {"from": "yesterday"}, {"zone": "Mars"}, {"network": "x"}, {"message_ref": "xyz"}],
    ids=str,
)
def test_a_filter_that_is_not_understood_is_refused(filters: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        click_search.conditions(filters)


async def test_who_fetches_what_has_come_misses_nothing(database):
    """Oldest first, each click once, the cursor good for ever; with a filter it moves past what does not fit."""
    await put(database, *(click(number, level=Level.SAFE if number % 2 else Level.DANGEROUS) for number in range(9)))
    engine = open_async(database)
    got: list[str] = []
    cursors = [""]
    async with engine.connect() as connection:
        for _ in range(3):
            found, cursor = await click_search.following(connection, {"level": "safe"}, limit=3, cursor=cursors[-1])
            await connection.rollback()
            got += [each["id"] for each in found]
            cursors.append(cursor)
        assert got == ids([1, 3, 5, 7])
        assert cursors[2] == cursors[3] == await click_search.newest(connection)
        await connection.rollback()
        await put(database, click(10), click(11, level=Level.SAFE))
        found, _ = await click_search.following(connection, {"level": "safe"}, limit=3, cursor=cursors[3])
        assert [each["id"] for each in found] == ids([11])
    await engine.dispose()
