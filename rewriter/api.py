"""HTTP calls of the rewriter. Knows requests and answers; knows no key, no verdict, no database.

The work is handed in as `Service`; how it is spread over processes is the roof's affair.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc.errors import Invalid, RequestError, Unsupported
from toc.token import Direction
from toc.unwrap import unwrap
from toc.web import decode, json, read_body

MESSAGE = "message/rfc822"
_ON_OFF = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the gateway knows of a mail beside its bytes."""

    sender: str = ""
    recipients: tuple[str, ...] = ()
    direction: Direction = Direction.INBOUND
    client: str = ""
    authenticated: bool = False
    message_id: str = ""


class ReceiptRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One URL found: where, what, outcome, reason code (docs/reasons.md)."""

    part: str
    kind: str
    url: str
    outcome: Literal["rewritten", "kept", "neutralised", "not_coverable"]
    reason: str
    text: str | None = None
    link: str | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message or body.

    disposition: ``hold`` or ``tempfail`` where the operator wants that for a part that could not be read
    """

    body: bytes
    changed: bool
    complete: bool
    receipt: tuple[ReceiptRow, ...] = ()
    notes: tuple[str, ...] = ()
    unprotected: int = 0
    worst_level: str | None = None
    disposition: str | None = None
    reference: str = ""


class Service(Protocol):
    """The work itself."""

    max_message: int

    async def rewrite_message(self, raw: bytes, envelope: Envelope) -> Outcome: ...
    async def restore_message(self, raw: bytes, envelope: Envelope) -> Outcome: ...
    async def rewrite_body(self, body: bytes, content_type: str, envelope: Envelope) -> Outcome: ...


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    message_b64: str
    receipt: tuple[ReceiptRow, ...]
    complete: bool
    notes: tuple[str, ...] = ()


class BodyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    content_type: str
    body: str | None = None
    body_b64: str | None = None
    sender: str = ""
    recipients: tuple[str, ...] = ()
    direction: Literal["inbound", "outbound", "internal"] = "inbound"
    message_id: str = ""


class BodyAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    receipt: tuple[ReceiptRow, ...]
    complete: bool
    body: str | None = None
    body_b64: str | None = None
    notes: tuple[str, ...] = ()


class UnwrapRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str


class LayerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    vendor: str
    url: str


class UnwrapAnswer(msgspec.Struct, frozen=True, kw_only=True):
    target: str | None
    layers: tuple[LayerAnswer, ...]


def routes(service: Service) -> list[Route]:
    """The calls, without their authentication."""

    async def rewrite_message(request: Request) -> Response:
        raw, envelope = await _message(request, service.max_message)
        return _message_answer(request, await service.rewrite_message(raw, envelope))

    async def restore_message(request: Request) -> Response:
        raw, envelope = await _message(request, service.max_message)
        return _message_answer(request, await service.restore_message(raw, envelope))

    async def rewrite_body(request: Request) -> Response:
        asked = decode(await read_body(request, service.max_message * 2), BodyRequest)
        body = _body_of(asked)
        envelope = Envelope(
            sender=asked.sender,
            recipients=asked.recipients,
            direction=Direction[asked.direction.upper()],
            message_id=asked.message_id,
        )
        outcome = await service.rewrite_body(body, _content_type(asked), envelope)
        return json(_body_answer(asked, outcome))

    async def links_unwrap(request: Request) -> Response:
        asked = decode(await read_body(request, 65_536), UnwrapRequest)
        found = unwrap(asked.url)
        layers = tuple(LayerAnswer(vendor=layer.vendor, url=layer.url) for layer in found.layers)
        return json(UnwrapAnswer(target=found.target, layers=layers))

    return [
        Route("/v1/messages/rewrite", rewrite_message, methods=["POST"]),
        Route("/v1/messages/restore", restore_message, methods=["POST"]),
        Route("/v1/rewrite", rewrite_body, methods=["POST"]),
        Route("/v1/links/unwrap", links_unwrap, methods=["POST"]),
    ]


async def _message(request: Request, limit: int) -> tuple[bytes, Envelope]:
    kind = request.headers.get("content-type", MESSAGE).partition(";")[0].strip().lower()
    if kind not in (MESSAGE, "application/octet-stream"):
        raise Unsupported(f"Content-Type {kind!r}; send the message as {MESSAGE}")
    return await read_body(request, limit), _envelope(request)


def _envelope(request: Request) -> Envelope:
    """The ``Toc-…`` fields of a request. Raises RequestError for one that is not understood."""
    headers = request.headers
    word = headers.get("toc-direction", "inbound").strip().lower()
    if word.upper() not in Direction.__members__:
        raise RequestError(f"Toc-Direction {word!r} is none of inbound, outbound, internal")
    authenticated = headers.get("toc-authenticated", "").strip().lower()
    if authenticated not in _ON_OFF:
        raise RequestError(f"Toc-Authenticated {authenticated!r} is neither yes nor no")
    recipients = [_header_text(value) for value in headers.getlist("toc-recipient")]
    return Envelope(
        sender=_header_text(headers.get("toc-sender", "")),
        recipients=tuple(filter(None, recipients)),
        direction=Direction[word.upper()],
        client=headers.get("toc-client-address", "").strip(),
        authenticated=_ON_OFF[authenticated],
    )


def _header_text(value: str) -> str:
    """Addresses may be UTF-8 (RFC 6532); HTTP hands them over as Latin-1."""
    text = value.strip().removeprefix("<").removesuffix(">")
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _message_answer(request: Request, outcome: Outcome) -> Response:
    """200 changed, 204 unchanged; with ``Accept: application/json`` always 200 and the receipt."""
    headers = _counts(outcome)
    if "application/json" in request.headers.get("accept", ""):
        answer = MessageAnswer(
            message_b64=base64.b64encode(outcome.body).decode(),
            receipt=outcome.receipt,
            complete=outcome.complete,
            notes=outcome.notes,
        )
        return json(answer, headers)
    if not outcome.changed:
        return Response(status_code=204, headers=headers)
    return Response(outcome.body, media_type=MESSAGE, headers=headers)


def _counts(outcome: Outcome) -> dict[str, str]:
    count = dict.fromkeys(("rewritten", "kept", "neutralised", "not_coverable"), 0)
    for row in outcome.receipt:
        count[row.outcome] += 1
    headers = {
        "Toc-Rewritten": str(count["rewritten"]),
        "Toc-Kept": str(count["kept"]),
        "Toc-Neutralised": str(count["neutralised"]),
        "Toc-Unprotected": str(outcome.unprotected),
        "Toc-Worst-Level": outcome.worst_level or "untested",
        "Toc-Complete": "yes" if outcome.complete else "no",
    }
    if outcome.disposition:
        headers["Toc-Disposition"] = outcome.disposition
    if outcome.reference:
        headers["Toc-Reference"] = outcome.reference
    return headers


def _body_of(asked: BodyRequest) -> bytes:
    if (asked.body is None) == (asked.body_b64 is None):
        raise Invalid("give exactly one of body and body_b64")
    if asked.body is not None:
        return asked.body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(asked.body_b64 or "", validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("body_b64 is not base64") from None


def _content_type(asked: BodyRequest) -> str:
    """A body that came as JSON text is Unicode already, whatever charset its label names."""
    if asked.body is None:
        return asked.content_type
    kind, *parameters = asked.content_type.split(";")
    kept = [text for text in parameters if not text.strip().lower().startswith("charset")]
    return ";".join([kind, *kept, " charset=utf-8"])


def _body_answer(asked: BodyRequest, outcome: Outcome) -> BodyAnswer:
    if asked.body is None:
        return BodyAnswer(
            receipt=outcome.receipt,
            complete=outcome.complete,
            notes=outcome.notes,
            body_b64=base64.b64encode(outcome.body).decode(),
        )
    text = outcome.body.decode("utf-8", "surrogatepass")
    return BodyAnswer(receipt=outcome.receipt, complete=outcome.complete, notes=outcome.notes, body=text)
