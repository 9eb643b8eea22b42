"""Rewritten mails: a search, and one mail with its receipt, its holders and its clicks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redirector import click_search
from toc import audit, message_search
from toc.console.answer import asked_for_part, page
from toc.console.clicks import filters_of
from toc.console.desk import Desk, actor_of
from toc.console.show import masked
from toc.errors import NotFound, RequestError

PAGE = 50
CLICKS = 200


def routes(desk: Desk) -> list[Route]:
    async def listing(request: Request) -> Response:
        filters = filters_of(request, message_search.FILTERS)
        cursor = request.query_params.get("cursor", "")
        async with desk.engine.connect() as connection:
            found, following = await message_search.search(connection, filters, limit=PAGE, cursor=cursor)
        template = "messages_rows.html" if asked_for_part(request) else "messages.html"
        return page(
            desk,
            request,
            template,
            filters=dict.fromkeys(message_search.FILTERS, "") | filters,
            asked=filters,
            messages=found,
            following=following,
            paged=bool(cursor),
        )

    async def one(request: Request) -> Response:
        return await _story(desk, request, revealed=False)

    async def reveal(request: Request) -> Response:
        ref = _ref(request)
        async with desk.engine.begin() as connection:
            if await message_search.get(connection, ref) is None:
                raise NotFound("there is no such mail on record")
            await audit.note(connection, desk.clock(), actor_of(request), "message_revealed", ref.hex())
        return await _story(desk, request, revealed=True)

    return [
        Route("/messages", listing, methods=["GET"]),
        Route("/messages/{ref}", one, methods=["GET"]),
        Route("/messages/{ref}/reveal", reveal, methods=["POST"]),
    ]


async def _story(desk: Desk, request: Request, *, revealed: bool) -> Response:
    ref = _ref(request)
    async with desk.engine.connect() as connection:
        mail = await message_search.get(connection, ref)
        if mail is None:
            raise NotFound("there is no such mail on record")
        receipts = await message_search.receipt(connection, ref)
        clicks, _ = await click_search.search(connection, {"message_ref": ref.hex()}, limit=CLICKS)
    clicked = {address for click in clicks if len(click["recipients"]) == 1 for address in click["recipients"]}
    return page(
        desk, request, "message.html", mail=mail, receipts=receipts, clicks=clicks, clicked=clicked, revealed=revealed,
        hidden=any(masked(row.url) != row.url for row in receipts),
    )  # fmt: skip


def _ref(request: Request) -> bytes:
    try:
        return bytes.fromhex(request.path_params["ref"])
    except ValueError:
        raise RequestError("this is no reference of a mail") from None
