"""The first page: what happened, who is in danger, whether the sources answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import hit_search
from toc.console import figures, health
from toc.console.answer import page, viewer_zone
from toc.console.desk import Desk
from toc.console.reports import open_count


def routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        wanted = request.query_params.get("span", "")
        span = next((span for span in figures.SPANS if span.name == wanted), figures.SPANS[0])
        starts = figures.edges(span, desk.clock(), viewer_zone(request))
        await desk.settle()
        async with desk.engine.connect() as connection:
            bins = await figures.over_time(connection, starts)
            hosts = await figures.blocked_hosts(connection, starts[0])
            recipients = await figures.endangered(connection, starts[0])
            waiting = await open_count(connection)
            new_hits = await hit_search.count_since(connection, desk.clock() - timedelta(hours=24))
        totals = {fate: sum(each.counts[fate] for each in bins) for fate in figures.Fate}
        return page(
            desk, request, "overview.html", span=span, spans=figures.SPANS, bins=bins, totals=totals, hosts=hosts,
            recipients=recipients, lists=desk.lists(), sources=desk.sources(), reports=waiting, fates=list(figures.Fate),
            since=starts[0], new_hits=new_hits, spool=await asyncio.to_thread(health.waiting, desk.data_dir),
        )  # fmt: skip

    return [Route("/", show, methods=["GET"])]
