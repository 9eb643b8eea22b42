"""Finding retrospective hits: what new entries accused on the record, newest first, with the people concerned.

Knows tables, no page. How a hit comes about stands in `toc.retrospect`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from redirector import click_search
from toc.errors import RequestError
from toc.store.schema import clicks, hits, holders, links, messages, people


@dataclass(frozen=True, slots=True)
class Facts:
    """What a click, or a link not clicked when it was found, says. `message_ref`: in hex, empty without a mail on record."""

    url: str
    message_id: str
    message_ref: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """`click`: its id, empty for a link. `recipients`: who was led on, or who may hold the link; addresses on record."""

    time: datetime
    source: str
    entry: str
    click: str
    facts: Facts


async def page(connection: AsyncConnection, *, limit: int, cursor: str = "") -> tuple[tuple[Hit, ...], str | None]:
    """Raises RequestError. Hits whose click or link is gone by retention are left out."""
    query = select(hits).order_by(hits.c.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(hits.c.id < _from_cursor(cursor))
    rows = (await connection.execute(query)).mappings().all()
    shown = rows[:limit]
    facts: dict[Any, Facts] = {}
    facts |= await _of_clicks(connection, [row["click"] for row in shown if row["click"]])
    facts |= await _of_links(connection, [row["link"] for row in shown if row["link"]])
    found = tuple(_hit(row, facts[key]) for row in shown if (key := row["click"] or row["link"]) in facts)
    following = urlsafe_b64encode(str(shown[-1]["id"]).encode()).decode() if len(rows) > limit else None
    return found, following


async def count_since(connection: AsyncConnection, start: datetime) -> int:
    """How many hits were found from `start` on."""
    return int(await connection.scalar(select(func.count()).select_from(hits).where(hits.c.time >= start)) or 0)


def _hit(row: Mapping[Any, Any], facts: Facts) -> Hit:
    return Hit(row["time"], row["source"], row["entry"], row["click"], facts)


async def _of_clicks(connection: AsyncConnection, ids: Sequence[str]) -> dict[Any, Facts]:
    rows = (await connection.execute(select(clicks).where(clicks.c.id.in_(ids)))).mappings().all()
    known = await click_search.documents(connection, rows)
    return {
        click["id"]: Facts(
            click["url"],
            click["message_id"],
            click["message_ref"] if click["message_id"] else "",
            tuple(click["recipients"]),
        )
        for click in known
    }


async def _of_links(connection: AsyncConnection, ids: Sequence[int]) -> dict[Any, Facts]:
    query = (
        select(links.c.id, links.c.url, messages.c.message_id, messages.c.ref, people.c.address)
        .join(messages, messages.c.ref == links.c.message_ref)
        .outerjoin(holders, holders.c.message_ref == links.c.message_ref)
        .outerjoin(people, people.c.ref == holders.c.recipient_ref)
        .where(links.c.id.in_(ids))
        .order_by(people.c.address)
    )
    first: dict[Any, Any] = {}
    who: dict[Any, list[str]] = {}
    for row in await connection.execute(query):
        first.setdefault(row.id, row)
        who.setdefault(row.id, []).extend([row.address] if row.address else [])
    return {key: Facts(row.url, row.message_id, bytes(row.ref).hex(), tuple(who[key])) for key, row in first.items()}


def _from_cursor(text: str) -> int:
    try:
        return int(urlsafe_b64decode(text))
    except ValueError:
        raise RequestError("this cursor is none of ours") from None
