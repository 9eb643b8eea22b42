"""HTTP calls about clicks: search, one, export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from redirector import click_filters, click_search
from redirector.export import format_of
from toc.errors import NotFound, RequestError
from toc.web import json, number

FILTERS = click_filters.FILTERS
_PAGING = ("limit", "cursor", "format", "order")

Page = Callable[..., Awaitable[tuple[list[dict[str, Any]], str | None]]]
_ORDERS: Mapping[str, Page] = {"newest": click_search.search, "oldest": click_search.following}
""""oldest" is for those who fetch what has come since: its `next` is never null."""


class ClicksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    clicks: tuple[dict[str, Any], ...]
    next: str | None


def routes(engine: AsyncEngine, settle: Callable[[], Awaitable[None]]) -> list[Route]:
    """`settle` waits until clicks that were answered before can be read."""

    async def search(request: Request) -> Response:
        await settle()
        order = request.query_params.get("order", "newest")
        if order not in _ORDERS:
            raise RequestError(f"order = {order[:20]!r} is neither newest nor oldest")
        async with engine.connect() as connection:
            found, cursor = await _ORDERS[order](
                connection,
                _filters(request),
                limit=number(request, "limit", 100, 1000),
                cursor=request.query_params.get("cursor", ""),
            )
        return json(ClicksAnswer(clicks=tuple(found), next=cursor))

    async def one(request: Request) -> Response:
        await settle()
        async with engine.connect() as connection:
            found = await click_search.get(connection, request.path_params["id"])
        if found is None:
            raise NotFound("no click with this id")
        return json(found)

    async def export(request: Request) -> Response:
        media_type, head, line = format_of(request.query_params.get("format", "jsonl"))
        filters = _filters(request)
        await settle()
        click_filters.conditions(filters)  # a mistake is told before the first byte

        async def lines() -> AsyncIterator[str]:
            if head:
                yield head
            async with engine.connect() as connection:
                async for click in click_search.stream(connection, filters):
                    yield line(click)

        return StreamingResponse(lines(), media_type=media_type)

    return [
        Route("/v1/clicks", search, methods=["GET"]),
        Route("/v1/clicks/export", export, methods=["GET"]),
        Route("/v1/clicks/{id}", one, methods=["GET"]),
    ]


def _filters(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query_params.items() if name not in _PAGING}
