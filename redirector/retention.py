"""How long clicks stay, and how long a client's whole address. Stored links are never touched: mails need them for years."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.config import ClickSettings
from toc.store.schema import clicks


async def apply_retention(connection: AsyncConnection, settings: ClickSettings, now: datetime) -> dict[str, int]:
    """Delete old clicks, truncate old addresses to their network. Returns how many rows each step met: the job's proof."""
    deleted = truncated = 0
    if settings.retention_days:
        limit = now - timedelta(days=settings.retention_days)
        deleted = (await connection.execute(delete(clicks).where(clicks.c.time < limit))).rowcount
    if settings.address_days:
        limit = now - timedelta(days=settings.address_days)
        old = update(clicks).where(clicks.c.time < limit, clicks.c.client != clicks.c.network)
        truncated = (await connection.execute(old.values(client=clicks.c.network))).rowcount
    return {"deleted": deleted, "truncated": truncated}
