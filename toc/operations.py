"""Every call of the management listener, once: who may, what goes in, what comes out. Access and OpenAPI read it.

A route without a row here is refused at start, and fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.routing import Route

from redirector import api as clicks
from reputation import api as reputation
from rewriter import api as rewriter
from toc import hits_api as hits
from toc import impact_api as impact
from toc import links_api as links
from toc.access import Scope

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Operation:
    """scope: None for calls open to all. `query`: names of query parameters."""

    method: str
    path: str
    scope: Scope | None
    summary: str
    takes: Any = None
    gives: Any = None
    status: int = 200
    query: tuple[str, ...] = ()


OPERATIONS: tuple[Operation, ...] = (
    Operation("POST", "/v1/messages/rewrite", Scope.REWRITE, "Rewrite a message", bytes, rewriter.MessageAnswer),
    Operation("POST", "/v1/messages/restore", Scope.REWRITE, "Restore a message", bytes, rewriter.MessageAnswer),
    Operation("POST", "/v1/rewrite", Scope.REWRITE, "Rewrite one body", rewriter.BodyRequest, rewriter.BodyAnswer),
    Operation("POST", "/v1/links/unwrap", Scope.REWRITE, "Look into a vendor's link", rewriter.UnwrapRequest,
              rewriter.UnwrapAnswer),
    Operation("POST", "/v1/links/open", Scope.ADMIN, "Open a link of ours", links.OpenRequest, links.OpenAnswer),
    Operation("POST", "/v1/revocations", Scope.ADMIN, "Revoke a link, message or recipient", links.RevokeRequest,
              links.RevokeAnswer, 201),
    Operation("GET", "/v1/verdict", Scope.VERDICT, "Judge a URL now", None, reputation.VerdictAnswer, query=("url",)),
    Operation("GET", "/v1/objects", Scope.OBJECTS, "List suspicious objects and approved entries", None,
              reputation.ObjectsAnswer, query=("q", "type", "action", "limit", "cursor")),
    Operation("POST", "/v1/objects", Scope.OBJECTS, "Add an object", reputation.ObjectRequest,
              reputation.ObjectAnswer, 201),
    Operation("POST", "/v1/objects/impact", Scope.OBJECTS, "What an object would have met, before it is added",
              impact.ImpactRequest, impact.ImpactAnswer),
    Operation("DELETE", "/v1/objects/{id}", Scope.OBJECTS, "Remove an object", status=204),
    Operation("POST", "/v1/objects/import", Scope.OBJECTS, "Import CSV or STIX", bytes, reputation.ImportAnswer),
    Operation("GET", "/v1/objects/export", Scope.OBJECTS, "Export CSV or STIX", None, bytes, query=("format",)),
    Operation("GET", "/v1/lists", Scope.READ, "State of every list", None, reputation.ListsAnswer),
    Operation("POST", "/v1/lists/{name}/refresh", Scope.OBJECTS, "Fetch a list now", None, reputation.RefreshAnswer),
    Operation("GET", "/v1/clicks", Scope.READ, "Search clicks", None, clicks.ClicksAnswer,
              query=(*clicks.FILTERS, "order", "limit", "cursor")),
    Operation("GET", "/v1/clicks/export", Scope.READ, "Export clicks", None, bytes, query=(*clicks.FILTERS, "format")),
    Operation("GET", "/v1/clicks/{id}", Scope.READ, "One click", None, dict[str, Any]),
    Operation("GET", "/v1/hits", Scope.READ, "What new entries accuse on the record", None, hits.HitsAnswer,
              query=("limit", "cursor")),
    Operation("GET", "/healthz", None, "The process lives"),
    Operation("GET", "/readyz", None, "Database and lists answer", None, dict[str, str]),
    Operation("GET", "/openapi.json", None, "This description"),
    Operation("GET", "/docs", None, "This description, to read"),
    Operation("GET", "/metrics", Scope.READ, "Metrics, summed over all processes"),
)  # fmt: skip


def find(method: str, path: str) -> Operation | None:
    """The operation of a route's method and path pattern."""
    wanted = "GET" if method == "HEAD" else method
    return next((row for row in OPERATIONS if (row.method, row.path) == (wanted, path)), None)


def without_rule(routes: Iterable[Route]) -> list[str]:
    """Routes that no operation names: they must not be served."""
    return [
        f"{method} {route.path}"
        for route in routes
        for method in sorted(route.methods or ())
        if find(method, route.path) is None
    ]


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    kinds = [kind for row in OPERATIONS for kind in (row.takes, row.gives) if kind not in (None, bytes)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Time-of-Click", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "toc_…"}},
        },
    }


def _operation(row: Operation, schema_of: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": row.summary}
    if row.gives is bytes:
        answer["content"] = {"application/octet-stream": {}}
    elif row.gives is not None:
        answer["content"] = {"application/json": {"schema": schema_of[id(row.gives)]}}
    document: dict[str, Any] = {
        "summary": row.summary,
        "responses": {
            str(row.status): answer,
            "default": {"description": "An error (RFC 9457)", "content": {PROBLEM: {}}},
        },
    }
    if row.scope is not None:
        document["security"] = [{"key": [row.scope.value]}]
    if row.takes is bytes:
        document["requestBody"] = {"content": {"application/octet-stream": {}}}
    elif row.takes is not None:
        document["requestBody"] = {"content": {"application/json": {"schema": schema_of[id(row.takes)]}}}
    names = [(name, "query", False) for name in row.query]
    names += [(part[1:-1], "path", True) for part in row.path.split("/") if part.startswith("{")]
    if names:
        document["parameters"] = [
            {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
            for name, place, required in names
        ]
    return document
