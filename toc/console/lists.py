"""The lists: generation, entries, age, last error, and fetching one now."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import audit
from toc.console.answer import go, page
from toc.console.desk import Desk, actor_of


def routes(desk: Desk) -> list[Route]:
    async def listing(request: Request) -> Response:
        return page(
            desk,
            request,
            "lists.html",
            lists=desk.lists(),
            sources=desk.sources(),
            done=request.query_params.get("done", ""),
        )

    async def refresh(request: Request) -> Response:
        """Raises NotFound."""
        name = request.path_params["name"]
        report = await desk.refresh(name)
        async with desk.engine.begin() as connection:
            await audit.note(connection, desk.clock(), actor_of(request), "list_refreshed", name, report.outcome)
        return go("/lists", done=report.outcome)

    return [
        Route("/lists", listing, methods=["GET"]),
        Route("/lists/{name}/refresh", refresh, methods=["POST"]),
    ]
