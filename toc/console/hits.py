"""Retrospective hits: whom entries that came later accuse, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import hit_search
from toc.console.answer import page
from toc.console.desk import Desk

PAGE = 50


def routes(desk: Desk) -> list[Route]:
    async def listing(request: Request) -> Response:
        """Raises RequestError."""
        cursor = request.query_params.get("cursor", "")
        async with desk.engine.connect() as connection:
            found, following = await hit_search.page(connection, limit=PAGE, cursor=cursor)
        return page(desk, request, "hits.html", hits=found, following=following, paged=bool(cursor))

    return [Route("/hits", listing, methods=["GET"])]
