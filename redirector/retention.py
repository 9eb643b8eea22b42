"""How long clicks stay, and how long a client's whole address. Stored links are never touched: mails need them for years."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Delete, Update, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.config import ClickSettings
from toc.store.schema import WHOLE_ADDRESS, clicks, hits

PART = 2000
"""Clicks of one transaction: no other writer waits long (about 20 ms)."""


async def apply_retention(
    engine: AsyncEngine,
    settings: ClickSettings,
    now: datetime,
    *,
    part: int = PART,
    progress: Callable[[int], None] = lambda _clicks: None,
) -> dict[str, int]:
    """Delete old clicks, truncate old addresses to their network, a part at a time.

    Returns how many rows each step met: the job's proof. `progress` is told the clicks of each part.
    """
    done = {"deleted": 0, "truncated": 0}
    if settings.retention_days:
        limit = now - timedelta(days=settings.retention_days)
        old = select(clicks.c.seq).where(clicks.c.time < limit).order_by(clicks.c.time).limit(part)
        done["deleted"] = await _in_parts(engine, delete(clicks).where(clicks.c.seq.in_(old)), progress)
        if done["deleted"] and engine.dialect.name == "sqlite":
            await _forget_urls(engine)
        async with engine.begin() as connection:
            await connection.execute(delete(hits).where(hits.c.time < limit))
    if settings.address_days:
        limit = now - timedelta(days=settings.address_days)
        whole = select(clicks.c.seq).where(clicks.c.time < limit, WHOLE_ADDRESS).order_by(clicks.c.time).limit(part)
        truncate = update(clicks).where(clicks.c.seq.in_(whole)).values(client=clicks.c.network)
        done["truncated"] = await _in_parts(engine, truncate, progress)
    return done


async def _forget_urls(engine: AsyncEngine) -> None:
    """URLs that no click bears any more leave the index of their parts (migration 0004)."""
    async with engine.begin() as connection:
        await connection.execute(
            text("DELETE FROM urls WHERE NOT EXISTS (SELECT 1 FROM clicks WHERE clicks.url = urls.url)")
        )


async def _in_parts(engine: AsyncEngine, statement: Delete | Update, progress: Callable[[int], None]) -> int:
    total = 0
    while True:
        async with engine.begin() as connection:
            count = (await connection.execute(statement)).rowcount
        if not count:
            return total
        total += count
        progress(count)
