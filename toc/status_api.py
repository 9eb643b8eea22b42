"""HTTP calls about the service itself: health, metrics, the description of the calls."""

from __future__ import annotations

import html
import os
from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from toc import live_health, operations
from toc.knowledge import Knowledge, utc_now
from toc.web import json

VERSION = version("time-of-click")


def routes(engine: AsyncEngine, knowledge: Knowledge) -> list[Route]:
    async def healthz(_request: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def readyz(_request: Request) -> Response:
        """Each part with ``ok`` or what is wrong; 503 where a part without which we cannot work is missing."""
        parts = {"database": await _database(engine), "keyset": knowledge.keyset_file.error or "ok"}
        silent = [item.feed.name for item in knowledge.lists.loaded if item.index is None]
        parts["lists"] = f"never loaded: {', '.join(silent)}" if silent else "ok"
        parts["record"] = "clicks wait for the database" if _database_refuses_clicks() else "ok"
        return json(parts, status=200 if parts["database"] == "ok" else 503)

    async def metrics(_request: Request) -> Response:
        live_health.show_open(live_health.healths(live_health.folder_of_all(), utc_now()))
        return Response(summed_metrics(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(_request: Request) -> Response:
        return json(operations.openapi(VERSION))

    async def docs(_request: Request) -> Response:
        return HTMLResponse(_docs_page(), headers={"Content-Security-Policy": _DOCS_POLICY})

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
    ]


def summed_metrics() -> bytes:
    """Over all processes of this service, those that have ended too."""
    return generate_latest(_all_processes())


def _all_processes() -> CollectorRegistry:
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _database_refuses_clicks() -> bool:
    return bool(_all_processes().get_sample_value("toc_database_refuses", {"what": "clicks"}))


async def _database(engine: AsyncEngine) -> str:
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError):
        return "the database does not answer"
    return "ok"


_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .4rem .8rem .4rem 0 }
tr { border-bottom: 1px solid #d8dee6 } code { font-family: ui-monospace, monospace }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #e3e8ee } tr { border-color: #343c46 } }
"""


def _docs_page() -> str:
    """The table of calls, for a person; the machine-readable one is /openapi.json."""
    rows = "".join(
        f"<tr><td><code>{row.method}</code></td><td><code>{html.escape(row.path)}</code></td>"
        f"<td>{html.escape(row.summary)}</td><td>{row.scope.value if row.scope else 'open'}</td></tr>"
        for row in operations.OPERATIONS
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Time-of-Click: calls</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>Calls of the management listener</h1>"
        "<p>Send <code>Authorization: Bearer toc_…</code>; the key needs the scope of the call. Errors are RFC 9457 "
        'problems. The same as a machine reads it: <a href="/openapi.json">/openapi.json</a>.</p>'
        "<table><thead><tr><th>Method</th><th>Path</th><th>What it does</th><th>Scope</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></main></body></html>"
    )
