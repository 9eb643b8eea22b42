"""The audit trail: who changed what, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import audit
from toc.console.answer import page
from toc.console.desk import Desk
from toc.errors import RequestError

PAGE = 100


def routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        before = request.query_params.get("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise RequestError("before is no number of a row")
        async with desk.engine.connect() as connection:
            found = await audit.page(connection, PAGE + 1, int(before) if before else None)
        following = found[PAGE - 1]["id"] if len(found) > PAGE else None
        return page(desk, request, "audit.html", rows=found[:PAGE], following=following, paged=bool(before))

    return [Route("/audit", show, methods=["GET"])]
