"""Retrospective hits over HTTP (`toc.hit_search`)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc.hit_search import Hit, page
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
        return json(HitsAnswer(hits=tuple(map(_answer, found)), next=cursor))

    return [Route("/v1/hits", listing, methods=["GET"])]


def _answer(hit: Hit) -> HitAnswer:
    return HitAnswer(
        time=hit.time,
        source=hit.source,
        entry=hit.entry,
        on="click" if hit.click else "link",
        click=hit.click,
        url=hit.facts.url,
        message_id=hit.facts.message_id,
        recipients=hit.facts.recipients,
    )
