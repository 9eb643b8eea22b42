"""Retrospective hits over HTTP: what new entries accused on the record, newest first, with the people concerned."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redirector import click_search
from toc.errors import RequestError
from toc.store.schema import clicks, hits, holders, links, messages, people
from toc.web import json, number


class HitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """on: `click`: who was led on; `link`: who may hold it yet.  click: its id, empty for a link"""

    time: datetime
    source: str
    entry: str
    on: Literal["click", "link"]
    click: str
    url: str
    message_id: str
    recipients: tuple[str, ...]


class HitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    hits: tuple[HitAnswer, ...]
    next: str | None


def routes(engine: AsyncEngine) -> list[Route]:
    async def listing(request: Request) -> Response:
        limit = number(request, "limit", 100, 1000)
        async with engine.connect() as connection:
            found, cursor = await page(connection, limit=limit, cursor=request.query_params.get("cursor", ""))
        return json(HitsAnswer(hits=found, next=cursor))

    return [Route("/v1/hits", listing, methods=["GET"])]


async def page(
    connection: AsyncConnection, *, limit: int, cursor: str = ""
) -> tuple[tuple[HitAnswer, ...], str | None]:
    """Raises RequestError. Hits whose click or link is gone by retention are left out."""
    query = select(hits).order_by(hits.c.id.desc()).limit(limit + 1)
    if cursor:
        query = query.where(hits.c.id < _from_cursor(cursor))
    rows = (await connection.execute(query)).mappings().all()
    shown = rows[:limit]
    facts: dict[Any, tuple[str, str, tuple[str, ...]]] = {}
    facts |= await _of_clicks(connection, [row["click"] for row in shown if row["click"]])
    facts |= await _of_links(connection, [row["link"] for row in shown if row["link"]])
    found = tuple(_answer(row, facts[key]) for row in shown if (key := row["click"] or row["link"]) in facts)
    following = urlsafe_b64encode(str(shown[-1]["id"]).encode()).decode() if len(rows) > limit else None
    return found, following


def _answer(row: Mapping[Any, Any], facts: tuple[str, str, tuple[str, ...]]) -> HitAnswer:
    url, message_id, recipients = facts
    return HitAnswer(
        time=row["time"],
        source=row["source"],
        entry=row["entry"],
        on="click" if row["click"] else "link",
        click=row["click"],
        url=url,
        message_id=message_id,
        recipients=recipients,
    )


async def _of_clicks(connection: AsyncConnection, ids: Sequence[str]) -> dict[Any, tuple[str, str, tuple[str, ...]]]:
    rows = (await connection.execute(select(clicks).where(clicks.c.id.in_(ids)))).mappings().all()
    found = await click_search.documents(connection, rows)
    return {click["id"]: (click["url"], click["message_id"], tuple(click["recipients"])) for click in found}


async def _of_links(connection: AsyncConnection, ids: Sequence[int]) -> dict[Any, tuple[str, str, tuple[str, ...]]]:
    query = (
        select(links.c.id, links.c.url, messages.c.message_id, people.c.address)
        .join(messages, messages.c.ref == links.c.message_ref)
        .outerjoin(holders, holders.c.message_ref == links.c.message_ref)
        .outerjoin(people, people.c.ref == holders.c.recipient_ref)
        .where(links.c.id.in_(ids))
        .order_by(people.c.address)
    )
    found: dict[Any, tuple[str, str, tuple[str, ...]]] = {}
    for row in await connection.execute(query):
        _, _, known = found.get(row.id, ("", "", ()))
        found[row.id] = (row.url, row.message_id, (*known, row.address) if row.address else known)
    return found


def _from_cursor(text: str) -> int:
    try:
        return int(urlsafe_b64decode(text))
    except ValueError:
        raise RequestError("this cursor is none of ours") from None
