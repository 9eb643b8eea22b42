"""The clicks: a search whose filters stand in the URL, and one click with its whole story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redirector import click_filters, click_search
from redirector.actor import ActorKind
from redirector.clicks import Event
from redirector.words import REASONS
from toc import audit, message_search
from toc.console.answer import asked_for_part, page, viewer_zone
from toc.console.desk import Desk, actor_of
from toc.console.question import Question, asked, of_mail
from toc.console.render import zone_of
from toc.console.show import cleaned, field_time, refanged
from toc.errors import BadUrl, NotFound, RequestError
from toc.policy import Action, Policy, mail_rules, treatment
from toc.store.schema import hits
from toc.url import parse
from toc.verdict import Level

PAGE = 50
CHOICES: Mapping[str, tuple[str, ...]] = {
    "action": tuple(item.code for item in Action),
    "level": tuple(item.code for item in Level),
    "event": tuple(item.code for item in Event),
    "actor": tuple(item.code for item in ActorKind),
    "reason": tuple(REASONS),
}


def routes(desk: Desk) -> list[Route]:
    async def listing(request: Request) -> Response:
        filters = filters_of(request, click_filters.FILTERS)
        refused = ""
        found: list[dict[str, Any]] = []
        following = None
        await desk.settle()
        try:
            async with desk.engine.connect() as connection:
                found, following = await click_search.search(
                    connection, with_zone(filters, request), limit=PAGE, cursor=request.query_params.get("cursor", "")
                )
        except RequestError as error:
            refused = str(error)
        part = asked_for_part(request)  # a filter that is still being typed is no mistake yet
        template, status = ("clicks_rows.html", 200) if part else ("clicks.html", 422 if refused else 200)
        return page(
            desk, request, template, status, asked=filters, choices=CHOICES, clicks=found,
            filters=in_fields(filters, viewer_zone(request)), following=following, refused=refused,
            paged="cursor" in request.query_params,
        )  # fmt: skip

    async def one(request: Request) -> Response:
        await desk.settle()
        return await _story(desk, request, revealed=False)

    async def reveal(request: Request) -> Response:
        click_id = request.path_params["id"]
        async with desk.engine.begin() as connection:
            click = await _click(connection, click_id)
            await audit.note(connection, desk.clock(), actor_of(request), "click_revealed", click_id, click["host"])
        return await _story(desk, request, revealed=True)

    return [
        Route("/clicks", listing, methods=["GET"]),
        Route("/clicks/{id}", one, methods=["GET"]),
        Route("/clicks/{id}/reveal", reveal, methods=["POST"]),
    ]


def filters_of(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    """What the form asks for. Addresses may be pasted as a report writes them (``hxxps://evil[.]example``)."""
    query = request.query_params
    found = {name: text for name in names if (text := cleaned(query.get(name, "")))}
    return {name: refanged(text) if name in ("url", "host", "domain") else text for name, text in found.items()}


def in_fields(filters: Mapping[str, str], zone: ZoneInfo) -> dict[str, str]:
    """What the form's fields hold: every one, and times as such fields can show them."""
    named = zone_of(filters.get("zone", ""), zone.key)
    times = {name: field_time(filters[name], named) for name in ("from", "to") if name in filters}
    return dict.fromkeys(click_filters.FILTERS, "") | dict(filters) | times


def with_zone(filters: Mapping[str, str], request: Request) -> dict[str, str]:
    """A day is a day where the viewer is, unless the URL names another zone."""
    return {"zone": viewer_zone(request).key, **filters}


@dataclass(frozen=True, slots=True)
class Now:
    """What would happen to the same click at this moment. `error`: why nobody can say."""

    question: Question | None
    error: str = ""


async def _story(desk: Desk, request: Request, *, revealed: bool) -> Response:
    async with desk.engine.connect() as connection:
        click = await _click(connection, request.path_params["id"])
        events, _ = await click_search.search(connection, {"group": click["group"]}, limit=PAGE)
        ref = bytes.fromhex(click["message_ref"])
        mail = await message_search.get(connection, ref)
        receipts = await message_search.receipt(connection, ref, click["url"]) if mail else []
        later = await _later(connection, click["id"])
    return page(
        desk, request, "click.html", click=click, events=sorted(events, key=lambda each: str(each["time"])), mail=mail,
        receipts=receipts, later=later, replay=desk.replay(click), same_policy=desk.policy().version == click["policy"],
        rule=_rule(desk.policy_of(click["policy"]), click, mail), now=await _now(desk, click, mail), revealed=revealed,
    )  # fmt: skip


def _rule(policy: Policy | None, click: Mapping[str, Any], mail: message_search.Found | None) -> str | None:
    """Which rule of the policy of that time takes such mails; empty for none, None where nobody can say.

    The delivering host is not on record: a rule that asks for it fits no recorded mail.
    """
    if policy is None or mail is None:
        return None
    facts = of_mail(mail)
    return treatment(policy, mail_rules(policy, facts), facts, click["host"]).rule


async def _now(desk: Desk, click: Mapping[str, Any], mail: message_search.Found | None) -> Now:
    try:
        return Now(await asked(desk, parse(click["url"]), of_mail(mail), click["profile"]))
    except BadUrl as error:
        return Now(None, str(error))


async def _click(connection: AsyncConnection, click_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    found = await click_search.get(connection, click_id)
    if found is None:
        raise NotFound("there is no such click, or its time in the record is over")
    return found


async def _later(connection: AsyncConnection, click_id: str) -> list[Mapping[Any, Any]]:
    """What accused this click afterwards."""
    return list((await connection.execute(select(hits).where(hits.c.click == click_id).order_by(hits.c.id))).mappings())
