"""The keys that seal and open, and those of callers: which there are, never what they are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import access, accounts
from toc.console.answer import page
from toc.console.desk import Desk


def routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        keyset = desk.keyset()
        keys = [{"id": key.id.hex(), "state": key.state.value, "created": key.created} for key in keyset.keys]
        async with desk.engine.connect() as connection:
            callers = await access.listing(connection)
            staff = await accounts.listing(connection)
        return page(
            desk, request, "keys.html", deployment=keyset.deployment, tenant=keyset.tenant, keys=keys, staff=staff,
            public_urls=[url.href for url in keyset.public_urls], callers=callers,
        )  # fmt: skip

    return [Route("/keys", show, methods=["GET"])]
