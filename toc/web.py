"""What every HTTP call of the management listener does alike: bodies in, JSON out, errors as RFC 9457 problems."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from toc.errors import Invalid, RequestError, TocError, TooLarge

_T = TypeVar("_T")

MAX_JSON = 1_000_000
"""Bytes of a JSON request that carries no mail."""


async def read_body(request: Request, limit: int = MAX_JSON) -> bytes:
    """The whole body, read as it comes. Raises TooLarge past `limit` bytes."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise TooLarge(f"the body has {length} bytes; the limit is {limit}", limit=limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes", limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)


def decode(raw: bytes, kind: type[_T]) -> _T:
    """A JSON body as `kind`. Raises Invalid, naming the field."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"the body is not what this call takes: {error}") from None
    except msgspec.DecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


def json(value: object, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def problem(error: TocError) -> Response:
    """RFC 9457: type, title, status, detail, and our reason code with its facts."""
    document = {
        "type": f"about:blank#{error.reason}",
        "title": error.reason.replace("_", " "),
        "status": error.status,
        "detail": str(error),
        "reason": error.reason,
        **error.facts,
    }
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status in (429, 503):
        headers["Retry-After"] = "2"
    return Response(msgspec.json.encode(document), error.status, headers, "application/problem+json")


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number from the query, 1 to `most`. Raises RequestError."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise RequestError(f"{name} = {text[:40]!r} is not a whole number from 1 to {most}")
    return int(text)
