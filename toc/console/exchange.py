"""Objects in and out as a whole: a pasted or chosen CSV or STIX list, and the same for others to take in.

A file comes as text in a form: console.js puts it there, so that no parser of uploads is needed and nothing lies on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reputation import exchange, object_store
from reputation.objects import Object, breadth_warning
from toc import audit
from toc.console.answer import page
from toc.console.desk import Desk, actor_of
from toc.console.headers import HEADERS
from toc.console.rules import MAX_IMPORT
from toc.console.show import cleaned_lines
from toc.errors import Invalid, RequestError, TooLarge

SHOWN = 100
"""Refused lines, and entries that reach far, that the result names."""

KINDS = {"csv": "text/csv; charset=utf-8", "stix": "application/stix+json;version=2.1"}


@dataclass(frozen=True, slots=True)
class Result:
    """What an import did. `known`: stood here before, and stay as they are; `broad`: not taken, with the warning."""

    added: int
    known: int
    refused: Sequence[str]
    broad: Sequence[tuple[Object, str]]

    @property
    def rest(self) -> str:
        """The entries that were not taken as they reach far, to be sent once more."""
        return cleaned_lines(exchange.to_csv(entry for entry, _ in self.broad)) if self.broad else ""


def routes(desk: Desk) -> list[Route]:
    async def ask(request: Request) -> Response:
        return _form(desk, request)

    async def take_in(request: Request) -> Response:
        """Raises TooLarge."""
        text = request.state.form.get("text", "")
        try:
            result = await _take_in(desk, request, text)
        except Invalid as error:
            return _form(desk, request, text=cleaned_lines(text), refused=str(error))
        return _form(desk, request, text=result.rest, result=result)

    async def give_out(request: Request) -> Response:
        """Everything, with the values of URLs: on record as a reveal is. Raises RequestError."""
        kind = request.query_params.get("format", "csv")
        if kind not in KINDS:
            raise RequestError("the format is neither csv nor stix")
        now = desk.clock()
        async with desk.engine.begin() as connection:
            found = await object_store.everything(connection)
            await audit.note(connection, now, actor_of(request), "objects_exported", f"{len(found)} objects", kind)
        text = exchange.to_csv(found) if kind == "csv" else exchange.to_stix(found, now=now)
        name = f"objects.{'csv' if kind == 'csv' else 'json'}"
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type=KINDS[kind], headers=headers)

    return [
        Route("/objects/import", ask, methods=["GET"]),
        Route("/objects/import", take_in, methods=["POST"]),
        Route("/objects/export", give_out, methods=["GET"]),
    ]


def _form(desk: Desk, request: Request, *, text: str = "", refused: str = "", result: Result | None = None) -> Response:
    return page(
        desk, request, "objects_import.html", 422 if refused else 200, text=text, refused=refused, result=result,
        most=MAX_IMPORT, shown=SHOWN,
    )  # fmt: skip


async def _take_in(desk: Desk, request: Request, text: str) -> Result:
    """Raises Invalid where nothing can be read from it, TooLarge."""
    raw = cleaned_lines(text).encode()
    if len(raw) > MAX_IMPORT:
        raise TooLarge(f"the list has {len(raw)} bytes; at most {MAX_IMPORT} are taken here", limit=MAX_IMPORT)
    now = desk.clock()
    found, refused = await asyncio.to_thread(exchange.from_file, raw, new_id=desk.new_id, created=now)
    if request.state.form.get("broad") == "yes":
        broad = []
    else:
        sites = desk.top_sites()
        broad = [(entry, warning) for entry in found if (warning := breadth_warning(entry, sites))]
    held_back = {entry.id for entry, _ in broad}
    wanted = [entry for entry in found if entry.id not in held_back]
    added = 0
    if wanted:
        async with desk.engine.begin() as connection:
            added = await object_store.add_many(connection, wanted, actor=actor_of(request), now=now)
    return Result(added, len(wanted) - added, refused, broad)
