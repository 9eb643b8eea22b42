"""The console as one application below ``/console``: its routes behind their rules, its refusals as pages."""

from __future__ import annotations

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from toc.console import (
    audit,
    clicks,
    exchange,
    gate,
    hits,
    keys,
    lists,
    messages,
    objects,
    overview,
    policy,
    reports,
    rules,
    sign_in,
)
from toc.console.answer import page
from toc.console.desk import Desk
from toc.console.headers import HEADERS
from toc.errors import ConfigError, NotFound, RequestError, TocError

log = structlog.get_logger("toc.console")


def routes(desk: Desk) -> list[Route]:
    """Every route, without its guard."""
    rooms = (sign_in, overview, clicks, messages, hits, exchange, objects, lists, policy, reports, keys, audit)
    return [_static(desk), *(route for room in rooms for route in room.routes(desk))]


def build(desk: Desk) -> Starlette:
    """Raises ConfigError for a route without a rule."""
    found = routes(desk)
    missing = rules.without_rule(found)
    if missing:
        raise ConfigError(f"console routes without a rule: {', '.join(missing)}")

    async def refused(request: Request, error: Exception) -> Response:
        return _refused(desk, request, error)

    handlers = {TocError: refused, HTTPException: refused, Exception: refused}
    guarded: list[BaseRoute] = [gate.guarded(route, desk) for route in found]
    return Starlette(routes=guarded, exception_handlers=handlers)


def _static(desk: Desk) -> Route:
    async def static(request: Request) -> Response:
        found = desk.renderer.static.get(request.path_params["name"])
        if found is None:
            raise NotFound("there is no such file")
        kind, body = found
        # The version stands in the query of each reference, so a file never changes under its URL.
        fresh = request.url.query == desk.renderer.version
        cache = "public, max-age=31536000, immutable" if fresh else "no-cache"
        return Response(body, media_type=kind, headers={**HEADERS, "Cache-Control": cache})

    return Route("/static/{name:path}", static, methods=["GET"])


def _refused(desk: Desk, request: Request, error: Exception) -> Response:
    """A refusal as a page. A mistake of ours leaves its trace in the log, and no detail on the page."""
    if isinstance(error, HTTPException):
        known: TocError = NotFound("there is no such page") if error.status_code == 404 else RequestError(error.detail)
        status = error.status_code
    elif isinstance(error, TocError):
        known, status = error, error.status
    else:
        log.error("internal_error", path=request.url.path, exc_info=error)
        known, status = TocError("an error inside the service; its log has the details"), 500
    return page(desk, request, "refused.html", status, reason=known.reason, detail=str(known))
