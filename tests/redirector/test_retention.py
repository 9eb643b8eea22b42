"""Retention, on both databases. Invariants: nothing goes too early, nothing stays; stored links and receipts stay for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select

from redirector.retention import apply_retention
from tests.redirector.record_data import START, click, put
from toc.config import ClickSettings
from toc.store.engine import open_async
from toc.store.schema import clicks, hits, stored_links

DAY = 24 * 60
NOW = START + timedelta(days=400)
SETTINGS = ClickSettings(retention_days=400, address_days=90)


async def applied(url: str, settings: ClickSettings) -> dict[str, int]:
    engine = open_async(url)
    try:
        return await apply_retention(engine, settings, NOW)
    finally:
        await engine.dispose()


async def clients(url: str) -> dict[str, str]:
    engine = open_async(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(clicks.c.id, clicks.c.client))).all()
    await engine.dispose()
    return {row.id.lstrip("0"): row.client for row in rows}


async def test_old_clicks_go_and_old_addresses_are_truncated(database):
    """To the second at both limits; what was done is told."""
    second = 1 / 60
    limit = 310 * DAY
    await put(
        database,
        click(-second, id="1"), click(0, id="2"), click(limit - second, id="3"), click(limit, id="4"),
        click(limit - second, id="5", client="2001:db8:1:2ff::7"), click(limit - second, id="6", client="unknown"),
    )  # fmt: skip
    assert await applied(database, SETTINGS) == {"deleted": 1, "truncated": 3}
    assert await clients(database) == {
        "2": "203.0.113.0/24", "3": "203.0.113.0/24", "4": "203.0.113.7", "5": "2001:db8:1:200::/56", "6": "unknown",
    }  # fmt: skip
    assert await applied(database, SETTINGS) == {"deleted": 0, "truncated": 0}


async def test_many_clicks_go_in_parts(database):
    await put(database, *(click(-1 - number, id=f"{number:032x}") for number in range(25)))
    told: list[int] = []
    engine = open_async(database)
    done = await apply_retention(engine, SETTINGS, NOW, part=10, progress=told.append)
    await engine.dispose()
    assert (done["deleted"], sum(told), max(told)) == (25, 25, 10)


async def test_zero_days_keep_everything(database):
    await put(database, click(-DAY * 1000, id="1"))
    assert await applied(database, ClickSettings(retention_days=0, address_days=0)) == {"deleted": 0, "truncated": 0}
    assert await clients(database) == {"1": "203.0.113.7"}


async def test_stored_links_are_never_removed(database):
    engine = open_async(database)
    async with engine.begin() as connection:
        old = datetime(2001, 1, 1, tzinfo=UTC)
        await connection.execute(insert(stored_links).values(id=b"i" * 16, field=b"https://a.example/", time=old))
    await applied(database, SETTINGS)
    async with engine.connect() as connection:
        assert len((await connection.execute(select(stored_links))).all()) == 1
    await engine.dispose()


async def test_retrospective_hits_go_with_the_clicks(database):
    engine = open_async(database)
    async with engine.begin() as connection:
        for days in (1, 399, 401, 500):
            row = {
                "time": NOW - timedelta(days=days),
                "source": "feed",
                "entry": "evil.example",
                "click": str(days),
                "link": 0,
            }
            await connection.execute(insert(hits).values(**row))
    await applied(database, SETTINGS)
    async with engine.connect() as connection:
        assert set((await connection.execute(select(hits.c.click))).scalars()) == {"1", "399"}
    await engine.dispose()
