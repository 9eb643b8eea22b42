"""Looking back from new objects and new list generations, on both databases.

Invariants: a hit for each click that was led on and each rewritten link that a new entry meets, once, however often it is
looked at; none for what was known at the time; what an outage or a restart left out is looked at later.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from redirector.clicks import Event
from reputation import object_store
from reputation.generations import point_to
from reputation.index import Entry
from reputation.index_build import build
from reputation.objects import parse_object
from tests.redirector.record_data import START, click, put
from tests.toc.test_impact import ANA, BEN, EVIL, URLS, WRAPPED, mail
from toc import hit_search, retrospect
from toc.config import Config, FeedSettings, ReputationSettings
from toc.config import Service as ServiceSettings
from toc.looking_back import LookingBack
from toc.policy import Action
from toc.records import store
from toc.store.engine import open_async
from toc.store.schema import hits, links
from toc.verdict import Level, Match, ThreatType

SEED = bytes(16)
NOW = START + timedelta(days=1)
FEED = "openphish"


@dataclass
class Site:
    """A record, and lists that change."""

    database: str
    folder: Path
    generation: int = 0

    @property
    def config(self) -> Config:
        feed = FeedSettings(name=FEED, url="list.txt", format="hosts")
        return Config(service=ServiceSettings(data_dir=str(self.folder)), reputation=ReputationSettings(feeds=(feed,)))

    def list(self, *entries: tuple[str, str]) -> None:
        """A new generation."""
        self.generation += 1
        folder = self.folder / "lists" / FEED
        folder.mkdir(parents=True, exist_ok=True)
        name = f"g{self.generation}"
        made = [Entry(kind, value, line, ThreatType.PHISHING) for line, (kind, value) in enumerate(entries, 1)]
        build(made, folder / f"{name}.idx", generation=name, seed=SEED, built_at=START)
        point_to(folder, name)

    async def look(self, times: int = 1) -> None:
        """As the chore does, after a start."""
        engine = open_async(self.database)
        looking = LookingBack(self.config, engine, lambda: NOW)
        for _ in range(times):
            await looking.look()
        await engine.dispose()

    async def add(self, kind: str, value: str, action: str = "block") -> None:
        engine = open_async(self.database)
        async with engine.begin() as connection:
            made = parse_object(
                {"type": kind, "value": value, "action": action}, object_id=f"{action}-{value}"[:32], created=START
            )
            await object_store.add(connection, made, actor="test", now=START)
        await engine.dispose()

    async def found(self) -> set[tuple[str, str, str]]:
        """Source, and the click's number or the link's URL."""
        engine = open_async(self.database)
        async with engine.connect() as connection:
            urls = dict(list(await connection.execute(select(links.c.id, links.c.url))))
            rows = (await connection.execute(select(hits))).all()
        await engine.dispose()
        assert len({(row.source, row.entry, row.click, row.link) for row in rows}) == len(rows)
        return {(row.source, row.entry, str(int(row.click, 16)) if row.click else urls[row.link]) for row in rows}


@pytest.fixture
def site(database: str, tmp_path: Path) -> Site:
    """A mail and a click for each of `URLS`; the click has the number of its place."""

    async def fill() -> None:
        engine = open_async(database)
        for number, target in enumerate(URLS.values()):
            record = mail(number, target, ANA, BEN)
            async with engine.begin() as connection:
                await store(connection, msgspec.structs.replace(record, links=record.links[:1]))
        await engine.dispose()
        await put(
            database,
            *(
                click(number, target, message_ref=b"m" + number.to_bytes(7, "big"), recipient_ref=ANA)
                for number, target in enumerate(URLS.values())
            ),
        )

    asyncio.run(fill())
    return Site(database, tmp_path)


def expected(source: str, entry: str, *names: str) -> set[tuple[str, str, str]]:
    numbers = {name: str(number) for number, name in enumerate(URLS)}
    return {(source, entry, what) for name in names for what in (numbers[name], URLS[name])}


CASES = [
    ("host", "evil.example", ("evil", "other path", "port and escapes", "below", "wrapped")),
    ("host", "login.evil.example", ("evil", "other path", "port and escapes")),
    ("url", EVIL, ("evil", "port and escapes")),
    ("url", "http://deep.evil.example/x", ("wrapped",)),
    ("ip", "192.0.2.0/24", ("address", "mapped address")),
    ("ip", "192.0.2.77", ("address", "mapped address")),
    ("host", "nobody.example", ()),
]


def test_each_new_entry_of_a_list_finds_whom_it_would_have_met(site: Site) -> None:
    before: set[tuple[str, str, str]] = set()
    known: list[tuple[str, str]] = []
    for kind, value, names in CASES:
        site.list((kind, value))
        asyncio.run(site.look())
        now = asyncio.run(site.found())
        assert now - before == expected(FEED, value, *names), value
        before = now
        known.append((kind, value))
    asyncio.run(site.look(times=3))
    assert asyncio.run(site.found()) == before


def test_each_new_object_does(site: Site) -> None:
    before: set[tuple[str, str, str]] = set()
    for kind, value, names in CASES:
        asyncio.run(site.add({"host": "domain"}.get(kind, kind), value))
        asyncio.run(site.look())
        now = asyncio.run(site.found())
        assert {row for row in now - before if row[1] == value} == expected("objects", value, *names), value
        before = now
    asyncio.run(site.look(times=2))
    assert asyncio.run(site.found()) == before


def test_what_stays_on_a_list_is_not_looked_back_from_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.list(("host", "evil.example"))
    asyncio.run(site.look())
    asked: list[frozenset[str]] = []
    original = retrospect._some

    def some(names):
        part = original(names)
        asked.extend([part.hosts] if part else [])
        return part

    monkeypatch.setattr(retrospect, "_some", some)
    site.list(("host", "evil.example"), ("host", "fresh.example"))
    asyncio.run(site.look())
    assert [name for hosts in asked for name in hosts if not name[0].isdigit() and name[0] != "["] == ["fresh.example"]


def test_what_was_said_then_or_is_long_ago_is_no_news(database: str, tmp_path: Path) -> None:
    match = Match(FEED, "g0", "evil.example", ThreatType.PHISHING, Level.DANGEROUS, "host", line=1)
    made = [
        click(0, EVIL, event=Event.SHOWN, action=Action.BLOCK),
        click(1, EVIL, event=Event.PROCEEDED, matches=(match,)),
        click(2, EVIL, event=Event.PROCEEDED),
        click(3, EVIL, event=Event.REPORTED),
        click(-retrospect.CLICK_DAYS * 24 * 60, EVIL, id=f"{4:032x}"),
    ]

    async def fill() -> None:
        engine = open_async(database)
        async with engine.begin() as connection:
            for number, level, outcome in ((1, Level.DANGEROUS, "rewritten"), (2, None, "neutralised")):
                record = mail(number, EVIL, ANA, outcome=outcome)
                row = msgspec.structs.replace(record.links[0], level=None if level is None else int(level))
                await store(connection, msgspec.structs.replace(record, links=(row,)))
        await engine.dispose()
        await put(database, *made)

    asyncio.run(fill())
    site = Site(database, tmp_path)
    site.list(("host", "evil.example"))
    asyncio.run(site.look())
    assert asyncio.run(site.found()) == {(FEED, "evil.example", "2")}


def test_objects_that_accuse_nobody_and_damaged_lists_find_nothing(site: Site) -> None:
    for action in ("log", "allow"):
        asyncio.run(site.add("domain", "evil.example", action))
    site.list(("host", "evil.example"))
    (site.folder / "lists" / FEED / "g1.idx").write_bytes(b"none")
    asyncio.run(site.look())
    assert asyncio.run(site.found()) == set()


def test_a_list_that_was_swept_meanwhile_is_looked_at_whole(site: Site) -> None:
    site.list(("host", "nobody.example"))
    asyncio.run(site.look())
    site.list(("host", "evil.example"))
    for old in (site.folder / "lists" / FEED).glob("g1.idx"):
        old.unlink()
    asyncio.run(site.look())
    assert {what for _, _, what in asyncio.run(site.found())} >= {EVIL, WRAPPED}


def test_a_flood_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrospect, "MOST", 1)
    monkeypatch.setattr(retrospect, "DOMAINS", 1)
    site.list(("host", "evil.example"), ("host", "shop.example"), ("host", "notevil.example"))
    asyncio.run(site.look())
    assert 0 < len(asyncio.run(site.found())) <= 10


def test_hits_are_shown_with_the_people_concerned(site: Site) -> None:
    site.list(("host", "deep.evil.example"))
    asyncio.run(site.look())
    site.list(("host", "shop.example"))
    asyncio.run(site.look())

    async def pages() -> list[hit_search.Hit]:
        engine = open_async(site.database)
        shown: list[hit_search.Hit] = []
        cursor: str | None = ""
        async with engine.connect() as connection:
            while cursor is not None:
                found, cursor = await hit_search.page(connection, limit=1, cursor=cursor)
                shown += found
        await engine.dispose()
        return shown

    shown = asyncio.run(pages())
    place = list(URLS).index("wrapped")
    assert {(hit.entry, bool(hit.click), hit.facts.url) for hit in shown} == {
        (entry, clicked, url)
        for entry, url in (("shop.example", URLS["unharmed"]), ("deep.evil.example", WRAPPED))
        for clicked in (True, False)
    }
    assert [hit.entry for hit in shown[:2]] == ["shop.example"] * 2
    by_kind = {bool(hit.click): hit.facts for hit in shown if hit.entry == "deep.evil.example"}
    assert by_kind[True].recipients == ("ana@example.com",)
    assert by_kind[False].recipients == ("ana@example.com", "ben@example.com")
    assert {facts.message_id for facts in by_kind.values()} == {f"<{place}@example.org>"}
    assert len({facts.message_ref for facts in by_kind.values()} - {""}) == 1
