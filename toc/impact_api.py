"""The dry run of an object over HTTP, and as a value that the command prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reputation.objects import Object, parse_object
from toc.impact import MOST, Held, Impact, MetClick, impact, warnings
from toc.policy import Policy
from toc.web import decode, json, read_body

DAYS = 30


class ImpactRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object as it would be added. `days`: of clicks, back from now. `limit`: names in each list of the answer."""

    type: str
    value: str
    action: Literal["block", "warn", "log", "allow", "override"] = "block"
    owner: str = ""
    expires: datetime | None = None
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = DAYS
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 1000


class MetClickAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A click that the object would have met. `would`: the action that would have followed."""

    id: str
    time: str
    event: str
    action: str
    would: str
    url: str
    recipients: tuple[str, ...]
    message_id: str
    client: str
    actor: str


class HeldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A rewritten link and one who holds it and has not clicked it: the mail to purge, and from whose mailbox."""

    message_id: str
    recipient: str
    recipient_ref: str
    message_ref: str
    subject: str
    time: datetime
    url: str


class ImpactAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """counts: action of then → action that would have been → clicks      people: who came through, and would not have"""

    type: str
    value: str
    action: str
    since: datetime
    warnings: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    people: tuple[str, ...]
    clicks: tuple[MetClickAnswer, ...]
    held_total: int
    held: tuple[HeldAnswer, ...]
    more: bool


async def dry_run(
    connection: AsyncConnection, entry: Object, policy: Policy, *, days: int, limit: int, now: datetime,
    top_sites: frozenset[str],
) -> ImpactAnswer:  # fmt: skip
    """What `entry` would have met in the last `days`, ready to be shown."""
    since = now - timedelta(days=days)
    found = await impact(connection, entry, policy, since=since, now=now)
    return ImpactAnswer(
        type=entry.type,
        value=entry.value,
        action=entry.action,
        since=since,
        warnings=warnings(entry, found, top_sites),
        counts=_counts(found),
        people=tuple(sorted({name for met in found.stopped for name in met.click["recipients"]})),
        clicks=tuple(_click(met) for met in found.clicks[:limit]),
        held_total=len(found.held),
        held=tuple(_held(row) for row in found.held[:limit]),
        more=found.more_clicks or found.more_held,
    )


def _counts(found: Impact) -> dict[str, dict[str, int]]:
    pairs = Counter((met.click["action"], met.would.code) for met in found.clicks)
    counts: dict[str, dict[str, int]] = {}
    for (was, would), number in sorted(pairs.items()):
        counts.setdefault(was, {})[would] = number
    return counts


def _click(met: MetClick) -> MetClickAnswer:
    click = met.click
    same = ("id", "time", "event", "action", "url", "message_id", "client", "actor")
    return MetClickAnswer(
        **{name: click[name] for name in same}, recipients=tuple(click["recipients"]), would=met.would.code
    )


def _held(row: Held) -> HeldAnswer:
    return HeldAnswer(
        message_id=row.message_id,
        recipient=row.recipient,
        recipient_ref=row.recipient_ref.hex(),
        message_ref=row.message_ref.hex(),
        subject=row.subject,
        time=row.time,
        url=row.url,
    )


def routes(
    engine: AsyncEngine,
    policy: Callable[[], Policy],
    top_sites: Callable[[], frozenset[str]],
    clock: Callable[[], datetime],
) -> list[Route]:
    async def ask(request: Request) -> Response:
        asked = decode(await read_body(request), ImpactRequest)
        now = clock()
        fields = {name: getattr(asked, name) for name in ("type", "value", "action", "owner", "expires")}
        entry = parse_object(fields, object_id="dry-run", created=now)
        async with engine.connect() as connection:
            answer = await dry_run(
                connection, entry, policy(), days=asked.days, limit=asked.limit, now=now, top_sites=top_sites()
            )
        return json(answer)

    return [Route("/v1/objects/impact", ask, methods=["POST"])]
