"""Clicks for the tests of the record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import insert, select

from redirector.actor import Actor, ActorKind
from redirector.clicks import COLUMNS, Click, Event, row
from toc.config import ClickSettings
from toc.policy import Action, Decision
from toc.store.engine import open_async
from toc.store.schema import clicks
from toc.token import Sealed
from toc.url import parse
from toc.verdict import Level, Match, Sign, ThreatType, Verdict

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = ClickSettings()
MATCH = Match("openphish", "g7", "evil.example/x", ThreatType.PHISHING, Level.DANGEROUS, "url", line=12)
SIGN = Sign("punycode", 0, "xn--80ak6aa92e.com")


def click(number: float, url: str = "https://www.shop.example/a?b=c", **more) -> Click:
    """The click with this number, a minute after the one before. `more`: fields of `Click`, or of what it consists of."""
    now = START + timedelta(minutes=number)
    verdict = Verdict(
        more.pop("level", Level.UNTESTED), now, *(more.pop(name, ()) for name in ("matches", "signs", "silent"))
    )
    sealed = Sealed(
        url,
        more.pop("issued", START - timedelta(days=1)),
        more.pop("other", None),
        more.pop("message_ref", b"mmmmmmm1"),
        more.pop("recipient_ref", b"rrrrrrr1"),
        more.pop("profile", 0),
        key_id=more.pop("key_id", b"key1"),
    )
    made = Click(
        id=f"{int(number):032x}",
        group=f"{int(number):032x}",
        time=now,
        event=Event.FORWARDED,
        url=parse(url),
        sealed=sealed,
        verdict=verdict,
        decision=Decision(more.pop("action", Action.ALLOW), more.pop("reasons", ())),
        client="203.0.113.7",
        user_agent="Mozilla/5.0",
        actor=Actor(more.pop("actor", ActorKind.PERSON), more.pop("actor_reason", "navigation")),
        policy="abcdefabcdef",
    )
    return msgspec.structs.replace(made, **more)


def rows(numbers: Sequence[int]) -> list[tuple[object, ...]]:
    return [row(click(number), SETTINGS) for number in numbers]


def ids(numbers: Sequence[int]) -> list[str]:
    return [f"{number:032x}" for number in numbers]


async def put(url: str, *made: Click) -> None:
    engine = open_async(url)
    async with engine.begin() as connection:
        for each in made:
            raw = dict(zip(COLUMNS, row(each, SETTINGS), strict=True))
            await connection.execute(insert(clicks).values(**{**raw, "time": each.time, "issued": each.sealed.issued}))
    await engine.dispose()


def stored(url: str) -> list[str]:
    """The ids in the database, in the order of their rows."""

    async def ask() -> list[str]:
        engine = open_async(url)
        try:
            async with engine.connect() as connection:
                found = await connection.execute(select(clicks.c.id).order_by(clicks.c.seq))
                return list(found.scalars())
        finally:
            await engine.dispose()

    return asyncio.run(ask())
