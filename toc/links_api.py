"""HTTP calls about our own links: opening one, revoking one. They need the keys, so they live at the roof."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc import audit
from toc.errors import BadLink, BadUrl, Invalid
from toc.keys import Keyset
from toc.protect import own_path
from toc.snapshot import link_ref
from toc.store.schema import revocations
from toc.store.writing import insert, touch
from toc.token import NO_REF, Sealed, open_path, recipient_ref
from toc.url import parse
from toc.web import decode, json, read_body

Stored = Callable[[bytes], Awaitable[bytes | None]]


class OpenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    link: str


class OpenAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    target: str
    issued: datetime
    key_id: str
    message_ref: str
    recipient_ref: str
    flags: int
    profile: int
    direction: str
    other_reading: str | None = None


class RevokeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value`: the link; the message's reference or a link of it; the recipient's address."""

    kind: Literal["link", "message", "recipient"]
    value: str
    note: str = ""


class RevokeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    ref: str


async def open_link(link: str, keyset: Keyset, stored: Stored) -> tuple[Sealed, str]:
    """The seal and the exact token of a link as somebody pasted it; as tolerant as the public path.

    Raises BadLink.
    """
    rest = _rest(link, keyset)
    asked: list[bytes] = []

    def note(link_id: bytes) -> None:
        asked.append(link_id)

    try:
        sealed, _, token = open_path(rest, keyset, note)
    except BadLink:
        if not asked:
            raise
        field = await stored(asked[0])
        sealed, _, token = open_path(rest, keyset, lambda _id: field)
    return sealed, token


def _rest(link: str, keyset: Keyset) -> str:
    """What stands behind ``/u/``: of a link of ours, or, as staff paste what they have, of any ``…/u/HOST/TOKEN``."""
    text = link.strip().strip("<>")
    try:
        rest = own_path(parse(text), keyset)
    except BadUrl:
        rest = None
    if rest is not None:
        return rest
    for room in ("/u/", "/p/"):
        if room in text:
            return text.partition(room)[2]
    raise BadLink("this is no link of ours")


def answer_of(sealed: Sealed) -> OpenAnswer:
    return OpenAnswer(
        target=sealed.target,
        other_reading=sealed.other,
        issued=sealed.issued,
        key_id=sealed.key_id.hex(),
        message_ref=sealed.message_ref.hex(),
        recipient_ref=sealed.recipient_ref.hex(),
        flags=int(sealed.flags) | int(sealed.direction),
        profile=sealed.profile,
        direction=sealed.direction.name.lower(),
    )


def routes(
    engine: AsyncEngine, keyset: Callable[[], Keyset], stored: Stored, clock: Callable[[], datetime]
) -> list[Route]:
    async def links_open(request: Request) -> Response:
        asked = decode(await read_body(request), OpenRequest)
        sealed, _ = await open_link(asked.link, keyset(), stored)
        async with engine.begin() as connection:
            await audit.note(connection, clock(), request.state.principal.name, "link_opened", sealed.target)
        return json(answer_of(sealed))

    async def revoke(request: Request) -> Response:
        asked = decode(await read_body(request), RevokeRequest)
        ref = await _revoked_ref(asked, keyset(), stored)
        async with engine.begin() as connection:
            actor = request.state.principal.name
            row = {"kind": asked.kind, "ref": ref, "time": clock(), "actor": actor, "note": asked.note}
            await connection.execute(insert(connection, revocations).values(**row).on_conflict_do_nothing())
            await audit.note(connection, clock(), actor, "revoked", f"{asked.kind} {ref.hex()}", asked.note)
            await touch(connection, "revocations")
        return json(RevokeAnswer(kind=asked.kind, ref=ref.hex()), status=201)

    return [
        Route("/v1/links/open", links_open, methods=["POST"]),
        Route("/v1/revocations", revoke, methods=["POST"]),
    ]


async def _revoked_ref(asked: RevokeRequest, keyset: Keyset, stored: Stored) -> bytes:
    if asked.kind == "recipient":
        return recipient_ref(asked.value, keyset)
    if asked.kind == "message" and len(asked.value) == 16:
        try:
            return bytes.fromhex(asked.value)
        except ValueError:
            raise Invalid("value is no message reference of 16 hex digits, and no link") from None
    sealed, token = await open_link(asked.value, keyset, stored)
    if asked.kind == "link":
        return link_ref(token)
    if sealed.message_ref == NO_REF:
        raise Invalid("this link names no message")
    return sealed.message_ref
