"""Suspicious objects and approved entries: list, add, expire, delete. What an entry would cover is shown before it is added."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reputation import object_store
from reputation.objects import Object, ObjectAction, ObjectType, breadth_warning, parse_object
from toc import audit
from toc.console.answer import asked_for_part, go, page, viewer_zone
from toc.console.desk import Desk, account_of, actor_of
from toc.console.show import cleaned, refanged
from toc.errors import BadUrl, Invalid, NotFound
from toc.impact import Impact, impact, warnings
from toc.store.schema import objects
from toc.url import parse

PAGE = 100
SEEN = 20
"""Clicks, and mails, that the check shows."""

LOOKED_AT = 300
DAYS = 30

FIELDS = ("type", "value", "action", "risk_level", "note", "owner", "expires")


def routes(desk: Desk) -> list[Route]:
    return [*_reading(desk), *_changing(desk)]


def _reading(desk: Desk) -> list[Route]:
    async def listing(request: Request) -> Response:
        query = request.query_params
        return await _listing(desk, request, fields={name: cleaned(query.get(f"new_{name}", "")) for name in FIELDS})

    async def check(request: Request) -> Response:
        """Beside the form, while it is filled in: how the entry will be stored, how far it reaches, whom it meets."""
        fields = {name: cleaned(request.query_params.get(name, "")) for name in FIELDS}
        entry, refused = None, ""
        if fields["value"].strip():
            try:
                entry = _entry(desk, request, fields)
            except Invalid as error:
                refused = str(error)
        dry_run = None if entry is None else await _dry_run(desk, entry)
        return page(
            desk, request, "objects_check.html", entry=entry, refused=refused, dry_run=dry_run, most=SEEN, days=DAYS,
            warnings=() if entry is None or dry_run is None else warnings(entry, dry_run, desk.top_sites()),
            link=urlencode(filters_for(entry)) if entry is not None else "",
        )  # fmt: skip

    return [Route("/objects", listing, methods=["GET"]), Route("/objects/check", check, methods=["GET"])]


async def _dry_run(desk: Desk, entry: Object) -> Impact:
    """Whom the entry would have met (`toc.impact`); of what it meets at most a few hundred are looked at, as somebody types."""
    await desk.settle()
    now = desk.clock()
    async with desk.engine.connect() as connection:
        return await impact(connection, entry, desk.policy(), since=now - timedelta(days=DAYS), now=now, most=LOOKED_AT)


def _changing(desk: Desk) -> list[Route]:
    async def add(request: Request) -> Response:
        fields = {name: cleaned(request.state.form.get(name, "")) for name in FIELDS}
        try:
            entry = _entry(desk, request, fields)
        except Invalid as error:
            return await _listing(desk, request, fields=fields, refused=str(error))
        warning = breadth_warning(entry, desk.top_sites())
        if warning and request.state.form.get("broad") != "yes":
            return await _listing(desk, request, fields=fields, warning=warning)
        async with desk.engine.begin() as connection:
            await object_store.add(connection, entry, actor=actor_of(request), now=desk.clock())
        return go("/objects", done="added")

    async def expire(request: Request) -> Response:
        """It stops matching now, and leaves the list with the next round of expiry."""
        now = desk.clock()
        async with desk.engine.begin() as connection:
            entry = await _stored(connection, request.path_params["id"])
            await object_store.add(connection, replace(entry, expires=now), actor=actor_of(request), now=now)
            subject = f"{entry.type} {entry.value}"
            await audit.note(connection, now, actor_of(request), "object_expired", subject, entry.action)
        return go("/objects", done="expired")

    async def delete(request: Request) -> Response:
        async with desk.engine.begin() as connection:
            object_id = request.path_params["id"]
            await object_store.remove(connection, object_id, actor=actor_of(request), now=desk.clock())
        return go("/objects", done="deleted")

    return [
        Route("/objects", add, methods=["POST"]),
        Route("/objects/{id}/expire", expire, methods=["POST"]),
        Route("/objects/{id}/delete", delete, methods=["POST"]),
    ]


async def _listing(
    desk: Desk, request: Request, *, fields: dict[str, str], refused: str = "", warning: str | None = None
) -> Response:
    query = request.query_params
    filters = {name: cleaned(query.get(name, "")) for name in ("q", "type", "action")}
    cursor = query.get("cursor", "")
    async with desk.engine.connect() as connection:
        found, following = await object_store.page(
            connection, limit=PAGE, cursor=cursor, text=refanged(filters["q"]), kind=filters["type"],
            action=filters["action"],
        )  # fmt: skip
    template = "objects_rows.html" if asked_for_part(request) else "objects.html"
    return page(
        desk, request, template, 422 if refused else 200, objects=found, following=following, filters=filters,
        fields=fields, refused=refused, warning=warning, types=list(ObjectType), actions=list(ObjectAction),
        done=query.get("done", ""), paged=bool(cursor), now=desk.clock(),
    )  # fmt: skip


def _entry(desk: Desk, request: Request, fields: dict[str, str]) -> Object:
    """The entry that the form describes; its time of expiry is in the viewer's zone. Raises Invalid."""
    given: dict[str, Any] = {**fields, "value": refanged(fields["value"]), "source": "console"}
    given["owner"] = fields["owner"] or account_of(request).name
    given["expires"] = _in_zone(fields["expires"], viewer_zone(request))
    return parse_object(given, object_id=desk.new_id(), created=desk.clock())


def _in_zone(text: str, zone: ZoneInfo) -> datetime | str:
    """A form's ``2027-01-31T12:00`` where the viewer is; anything else as it was written, to be refused by its name."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def filters_for(entry: Object) -> dict[str, str]:
    """The search for clicks that an entry covers, as near as a search can say it; nothing where none can."""
    if entry.type == ObjectType.DOMAIN:
        host = entry.value.removeprefix("*.")
        try:
            whole = parse(f"http://{host}/").domain == host
        except BadUrl:
            return {}
        return {"domain" if whole else "host": host}
    if entry.type == ObjectType.URL:
        return {"url": entry.value.partition("://")[2]}
    if entry.type == ObjectType.IP and "/" not in entry.value:
        return {"host": f"[{entry.value}]" if ":" in entry.value else entry.value}
    return {}


async def _stored(connection: AsyncConnection, object_id: str) -> Object:
    """Raises NotFound."""
    row = (await connection.execute(select(objects).where(objects.c.id == object_id))).mappings().first()
    if row is None:
        raise NotFound("there is no such entry any more")
    return Object(**row)
