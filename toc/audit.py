"""The audit trail: who changed what. Rows are added, never changed; in the same transaction as the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.store.schema import audit


async def note(
    connection: AsyncConnection, now: datetime, actor: str, verb: str, subject: str, detail: str = ""
) -> None:
    """Add one row. `actor`: ``key:NAME``, ``user:NAME`` or ``command``."""
    await connection.execute(
        audit.insert().values(time=now, actor=actor, verb=verb, subject=subject[:2000], detail=detail[:4000])
    )


async def page(connection: AsyncConnection, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The newest `limit` rows, or those before the row with id `before`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
