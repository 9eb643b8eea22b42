"""HTTP calls of reputation: verdict, objects, lists. Knows requests and answers; what a decision is, it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reputation import object_store, peers
from reputation.exchange import from_file, from_stix, to_csv, to_stix
from reputation.forms import Forms
from reputation.objects import Object, breadth_warning, breadth_warnings, parse_object
from toc.errors import Invalid, RequestError
from toc.verdict import Verdict
from toc.web import MAX_JSON, decode, json, number, read_body

MAX_IMPORT = 64_000_000


class MatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    generation: str
    entry: str
    threat: str
    level: str
    form: str
    kind: str
    line: int


class SignAnswer(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    points: int
    detail: str


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    action: str
    reasons: tuple[str, ...]
    profile: str
    policy: str


class VerdictAnswer(msgspec.Struct, frozen=True, kw_only=True):
    level: str
    matches: tuple[MatchAnswer, ...]
    signs: tuple[SignAnswer, ...]
    silent: tuple[str, ...]
    as_of: datetime
    forms: tuple[str, ...]
    decision: DecisionAnswer


class ObjectRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    value: str
    action: Literal["block", "warn", "log", "allow", "override"]
    risk_level: str | None = None
    note: str = ""
    source: str = ""
    owner: str = ""
    expires: datetime | None = None


class ObjectAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    value: str
    action: str
    risk_level: str | None
    note: str
    source: str
    owner: str
    created: datetime
    expires: datetime | None
    warning: str | None = None


class ObjectsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    objects: tuple[ObjectAnswer, ...]
    next: str | None


class ImportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    added: int
    refused: tuple[str, ...]
    warnings: tuple[str, ...]


class ListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    generation: str | None
    entries: int
    loaded: datetime | None
    age_seconds: int | None
    stale: bool
    required: bool
    last_error: str | None


class ListsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    lists: tuple[ListAnswer, ...]


class RefreshAnswer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    outcome: str
    generation: str
    entries: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """judge: the verdict and the decision on a URL, and whether a peer asks; refresh: fetch one list; lists: all states."""

    engine: AsyncEngine
    judge: Callable[[str, bool], Awaitable[VerdictAnswer]]
    refresh: Callable[[str], Awaitable[RefreshAnswer]]
    lists: Callable[[], tuple[ListAnswer, ...]]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    top_sites: Callable[[], frozenset[str]]


def routes(services: Services) -> list[Route]:
    return [*_verdict_routes(services), *_object_routes(services), *_exchange_routes(services)]


def _verdict_routes(services: Services) -> list[Route]:
    async def verdict(request: Request) -> Response:
        url = request.query_params.get("url")
        if not url:
            raise RequestError("give the URL as ?url=")
        return json(await services.judge(url, peers.HEADER in request.headers))

    async def lists(_request: Request) -> Response:
        return json(ListsAnswer(lists=services.lists()))

    async def refresh(request: Request) -> Response:
        return json(await services.refresh(request.path_params["name"]))

    return [
        Route("/v1/verdict", verdict, methods=["GET"]),
        Route("/v1/lists", lists, methods=["GET"]),
        Route("/v1/lists/{name}/refresh", refresh, methods=["POST"]),
    ]


def _object_routes(services: Services) -> list[Route]:
    async def listing(request: Request) -> Response:
        query = request.query_params
        async with services.engine.connect() as connection:
            found, cursor = await object_store.page(
                connection,
                limit=number(request, "limit", 100, 1000),
                cursor=query.get("cursor", ""),
                text=query.get("q", ""),
                kind=query.get("type", ""),
                action=query.get("action", ""),
            )
        return json(ObjectsAnswer(objects=tuple(map(object_answer, found)), next=cursor))

    async def add(request: Request) -> Response:
        asked = decode(await read_body(request, MAX_JSON), ObjectRequest)
        now = services.clock()
        found = parse_object(msgspec.structs.asdict(asked), object_id=services.new_id(), created=now)
        warning = breadth_warning(found, services.top_sites())
        async with services.engine.begin() as connection:
            stored = await object_store.add(connection, found, actor=request.state.principal.name, now=now)
        return json(object_answer(stored, warning), status=201)

    async def remove(request: Request) -> Response:
        async with services.engine.begin() as connection:
            actor = request.state.principal.name
            await object_store.remove(connection, request.path_params["id"], actor=actor, now=services.clock())
        return Response(status_code=204)

    return [
        Route("/v1/objects", listing, methods=["GET"]),
        Route("/v1/objects", add, methods=["POST"]),
        Route("/v1/objects/{id}", remove, methods=["DELETE"]),
    ]


def _exchange_routes(services: Services) -> list[Route]:
    async def take_in(request: Request) -> Response:
        raw = await read_body(request, MAX_IMPORT)
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        read = from_stix if "json" in kind else from_file
        now = services.clock()
        found, refused = read(raw, new_id=services.new_id, created=now)
        if not found and refused:
            raise Invalid(f"nothing in this import could be taken: {refused[0]}")
        async with services.engine.begin() as connection:
            actor = request.state.principal.name
            added = await object_store.add_many(connection, found, actor=actor, now=now)
        warnings = tuple(breadth_warnings(found, services.top_sites()))
        return json(ImportAnswer(added=added, refused=tuple(refused), warnings=warnings))

    async def give_out(request: Request) -> Response:
        wanted = request.query_params.get("format", "csv")
        if wanted not in ("csv", "stix"):
            raise RequestError(f"format {wanted[:20]!r} is neither csv nor stix")
        async with services.engine.connect() as connection:
            found = await object_store.everything(connection)
        if wanted == "csv":
            return Response(to_csv(found), media_type="text/csv; charset=utf-8")
        return Response(to_stix(found, now=services.clock()), media_type="application/stix+json;version=2.1")

    return [
        Route("/v1/objects/import", take_in, methods=["POST"]),
        Route("/v1/objects/export", give_out, methods=["GET"]),
    ]


def object_answer(found: Object, warning: str | None = None) -> ObjectAnswer:
    names = [name for name in ObjectAnswer.__struct_fields__ if name != "warning"]
    return ObjectAnswer(**{name: getattr(found, name) for name in names}, warning=warning)


def verdict_answer(verdict: Verdict, decision: DecisionAnswer, forms: Forms) -> VerdictAnswer:
    """`forms`: under which the URL was looked up; the answer spells out all of them."""
    return VerdictAnswer(
        level=verdict.level.code,
        matches=tuple(
            MatchAnswer(
                source=match.source,
                generation=match.generation,
                entry=match.entry,
                threat=match.threat.value,
                level=match.level.code,
                form=match.form,
                kind=match.kind.value,
                line=match.line,
            )
            for match in verdict.matches
        ),
        signs=tuple(SignAnswer(code=sign.code, points=sign.points, detail=sign.detail) for sign in verdict.signs),
        silent=verdict.silent,
        as_of=verdict.as_of,
        forms=forms.names(),
        decision=decision,
    )
