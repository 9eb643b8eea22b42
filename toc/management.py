"""The management process: its listener, the rewriting pool, and the work beside: lists, snapshot, retention.

Builds everything and passes it in. Authentication is one table, `toc.operations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial

import structlog
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from redirector import api as clicks_api
from redirector.journal import settled
from reputation import api as reputation_api
from rewriter import api as rewriter_api
from toc import chores, hits_api, impact_api, links_api, operations, policy_archive, refreshing, status_api
from toc.access import KeyRing, Principal
from toc.accounts import LocalDirectory
from toc.console import app as console
from toc.console import gate
from toc.console.desk import Desk
from toc.console.render import Renderer
from toc.errors import ConfigError, NotFound, RequestError, TocError
from toc.judged import judged
from toc.knowledge import Knowledge, utc_now
from toc.live import live_sources
from toc.live_health import Teller, folder_of_all, healths
from toc.pool import RewritingPool
from toc.replay import replay
from toc.sessions import Ends
from toc.sightings import StoreReader
from toc.startup import Startup
from toc.store.engine import open_async
from toc.url import Url
from toc.verdict import Verdict
from toc.web import problem
from toc.worker import Ids, networks, refresh_for_ever, serve_http, tls_of

log = structlog.get_logger("toc.management")


def run(startup: Startup, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve(startup, listener, ready))


async def _serve(startup: Startup, listener: socket.socket, ready: Callable[[], None]) -> None:
    config = startup.config
    engine = open_async(config.database)
    live = live_sources(config)
    knowledge = Knowledge(startup, live=live)
    reader = StoreReader(config.database, time.monotonic)
    async with (
        chores.running(config, engine, Ids()),
        RewritingPool.open(startup, engine) as pool,
        _refreshing(knowledge, Teller(live, folder_of_all(), utc_now)),
    ):
        app = build(startup, engine, knowledge, reader, pool)
        await serve_http(app, listener, tls_of(startup, public=False), ready)
    await engine.dispose()


@contextlib.asynccontextmanager
async def _refreshing(knowledge: Knowledge, teller: Teller) -> AsyncIterator[None]:
    task = asyncio.create_task(refresh_for_ever(knowledge, teller))
    try:
        yield
    finally:
        task.cancel()


def build(
    startup: Startup, engine: AsyncEngine, knowledge: Knowledge, reader: StoreReader, pool: RewritingPool
) -> ASGIApp:
    """The application of the management listener."""
    config = startup.config
    keyset = lambda: knowledge.keyset_file.current  # noqa: E731 - read anew each time
    ring = KeyRing(engine, time.monotonic)

    async def judge(url: str, for_peer: bool) -> reputation_api.VerdictAnswer:
        return await judged(url, knowledge, reader, for_peer=for_peer)

    services = reputation_api.Services(
        engine=engine,
        judge=judge,
        refresh=lambda name: refreshing.refresh_by_name(config, name),
        lists=lambda: refreshing.list_states(config),
        clock=utc_now,
        new_id=Ids(),
        top_sites=lambda: knowledge.popular,
    )
    routes: list[Route] = [
        *rewriter_api.routes(pool),
        *reputation_api.routes(services),
        *clicks_api.routes(engine, partial(settled, config.data_dir / "spool")),
        *hits_api.routes(engine),
        *impact_api.routes(engine, lambda: knowledge.policy, lambda: knowledge.popular, utc_now),
        *links_api.routes(engine, keyset, reader.stored, utc_now),
        *status_api.routes(engine, knowledge),
    ]
    missing = operations.without_rule(routes)
    if missing:
        raise ConfigError(f"routes without a rule: {', '.join(missing)}")
    desk = _desk(startup, engine, knowledge, reader)
    guarded: list[BaseRoute] = [_guarded(route, ring, desk) for route in routes]
    guarded += [Mount(gate.ROOT, console.build(desk)), Route("/", _to_console)]
    return Starlette(routes=guarded, exception_handlers={TocError: _refused, HTTPException: _http, Exception: _failed})


async def _to_console(_request: Request) -> Response:
    return RedirectResponse(f"{gate.ROOT}/", 303)


def _desk(startup: Startup, engine: AsyncEngine, knowledge: Knowledge, reader: StoreReader) -> Desk:
    """What the console's pages work with."""
    config = startup.config
    settings = config.console

    async def judge(url: Url) -> Verdict:
        return await knowledge.full(url, utc_now(), seen=await reader.sighting(url.host))

    return Desk(
        engine=engine,
        renderer=Renderer(),
        directory=LocalDirectory(engine),
        settle=partial(settled, config.data_dir / "spool"),
        judge=judge,
        lists=lambda: refreshing.list_states(config),
        sources=lambda: healths(folder_of_all(), utc_now()),
        refresh=lambda name: refreshing.refresh_by_name(config, name),
        policy=lambda: knowledge.policy,
        policy_of=lambda version: policy_archive.find(config, version),
        replay=lambda click: replay(click, config),
        keyset=lambda: knowledge.keyset_file.current,
        top_sites=lambda: knowledge.popular,
        clock=utc_now,
        new_id=Ids(),
        random=os.urandom,
        ends=Ends(timedelta(minutes=settings.idle_minutes), timedelta(hours=settings.session_hours)),
        secure=bool(config.service.admin_tls_cert) or config.service.admin_behind_proxy,
        proxies=networks(config.service.trusted_proxies),
        data_dir=config.data_dir,
    )


async def _principal(request: Request, ring: KeyRing, desk: Desk) -> Principal:
    """By API key, or by the session of a browser. Raises Unauthenticated, Forbidden."""
    authorization = request.headers.get("authorization", "")
    staff = await gate.staff_principal(desk, request) if not authorization else None
    return staff or await ring.principal(authorization)


def _guarded(route: Route, ring: KeyRing, desk: Desk) -> Route:
    """The same route behind its rule. An open route has no principal."""

    async def endpoint(request: Request) -> Response:
        operation = operations.find(request.method, route.path)
        if operation is None:
            raise NotFound("no such call; /docs lists them")
        if operation.scope is not None:
            principal = await _principal(request, ring, desk)
            principal.require(operation.scope)
            request.state.principal = principal
        inner: Callable[[Request], Awaitable[Response]] = route.endpoint
        return await inner(request)

    return Route(route.path, endpoint, methods=list(route.methods or ()))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TocError)
    return problem(error)


async def _http(_request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown path, wrong method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return problem(NotFound("no such call; /docs lists them"))
    answer = problem(RequestError(error.detail))
    answer.status_code = error.status_code
    return answer


async def _failed(request: Request, error: Exception) -> Response:
    """A mistake of ours: its trace goes to the log, a reference to the caller."""
    log.error("internal_error", path=request.url.path, exc_info=error)
    return problem(TocError("an error inside the service; its log has the details"))
