"""Clicks for the tests of the record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import insert, select

from redirector.actor import ActorKind
from redirector.clicks import COLUMNS, Click, Event, row
from redirector.rate import network_of
from toc.config import ClickSettings
from toc.policy import Action
from toc.store.engine import open_async
from toc.store.schema import clicks
from toc.url import parse
from toc.verdict import Level, Match, Sign, ThreatType, Verdict

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = ClickSettings()
MATCH = Match("openphish", "g7", "evil.example/x", ThreatType.PHISHING, Level.DANGEROUS, "url", line=12)
SIGN = Sign("punycode", 0, "xn--80ak6aa92e.com")


def click(number: float, url: str = "https://www.shop.example/a?b=c", **more) -> Click:
    """The click with this number, a minute after the one before."""
    now = START + timedelta(minutes=number)
    level = more.pop("level", Level.UNTESTED)
    client = more.pop("client", "203.0.113.7")
    verdict = Verdict(level, now, more.pop("matches", ()), more.pop("signs", ()), more.pop("silent", ()))
    made = Click(
        id=f"{int(number):032x}",
        group=f"{int(number):032x}",
        time=now,
        event=Event.FORWARDED,
        action=Action.ALLOW,
        reasons=(),
        url=parse(url),
        other=None,
        verdict=verdict,
        message_ref=b"mmmmmmm1",
        recipient_ref=b"rrrrrrr1",
        client=client,
        network=network_of(client),
        user_agent="Mozilla/5.0",
        actor=ActorKind.PERSON,
        actor_reason="navigation",
        key_id=b"key1",
        issued=START - timedelta(days=1),
        profile=0,
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
            await connection.execute(insert(clicks).values(**{**raw, "time": each.time, "issued": each.issued}))
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
