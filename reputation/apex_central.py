"""User-defined suspicious objects of Trend Micro Apex Central, Control Manager's successor: list, add, remove.

Knows the signed API and what its words mean here; which objects go which way, `plan` says. What is stored: `object_store`.

Each request carries a JWT (HS256 with the API key) of application id, time, and a checksum over method, path and query in
lower case, signed headers (we sign none) and body. Source: "Apex Central Automation API", user-defined suspicious objects.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import msgspec

from reputation.breaker import SourceError
from reputation.objects import Object, ObjectAction, ObjectType, parse_object
from toc.errors import Invalid

PATH = "/WebApp/api/SuspiciousObjects/UserDefinedSO"
SOURCE = "apex-central"
MARK = "Time-of-Click: "
"""How notes begin of what we put there: it never comes back as theirs, and only such objects we ever remove."""

MAX_NOTES = 256  # characters, the console's limit
MAX_ANSWER = 64_000_000  # bytes: 10,000 objects a type are allowed there

_TYPES: Mapping[str, str] = {"file": ObjectType.FILE_SHA1, "file_sha1": ObjectType.FILE_SHA1}
_PUSHED_TYPES = frozenset({ObjectType.URL, ObjectType.DOMAIN, ObjectType.IP, ObjectType.FILE_SHA1})
_PUSHED_ACTIONS = frozenset({ObjectAction.BLOCK, ObjectAction.LOG})


@dataclass(frozen=True, slots=True)
class Row:
    """One object as Apex Central has it. `expires`: ISO 8601 in UTC without a zone, empty for never."""

    type: str
    content: str
    notes: str = ""
    scan_action: str = "log"
    expires: str = ""


def token(key: str, application: str, request: tuple[str, str, str], at: float) -> str:
    """The JWT of one request: method, path with query, body; `at` in epoch seconds."""
    method, target, body = request
    digest = hashlib.sha256(f"{method.upper()}|{target.lower()}||{body}".encode()).digest()
    claims = {
        "appid": application,
        "iat": int(at),
        "version": "V1",
        "checksum": base64.b64encode(digest).decode(),
    }
    signed = b".".join(_url64(msgspec.json.encode(part)) for part in ({"typ": "JWT", "alg": "HS256"}, claims))
    return (signed + b"." + _url64(hmac.digest(key.encode(), signed, "sha256"))).decode()


def _url64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class ApexCentral:
    """One server. `clock`: epoch seconds; its time must be close to the server's, or requests are refused."""

    def __init__(
        self, base: str, application: str, key: str, *, client: httpx.AsyncClient, clock: Callable[[], float]
    ) -> None:
        self._base = base.rstrip("/")
        self._application = application
        self._key = key
        self._client = client
        self._clock = clock

    async def everything(self) -> list[Row]:
        """Raises SourceError."""
        found = await self._call("GET", PATH, "")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise SourceError("Apex Central answers with no list of objects")
        return [_row(item) for item in found]

    async def add(self, row: Row) -> None:
        """Add an object, or replace the one with its type and content. Raises SourceError."""
        expires = {"expiration_utc_date": row.expires} if row.expires else {}
        fields = {"type": row.type, "content": row.content, "notes": row.notes, "scan_action": row.scan_action}
        await self._call("PUT", PATH, msgspec.json.encode({"param": fields | expires}).decode())

    async def remove(self, row: Row) -> None:
        """Raises SourceError."""
        query = httpx.QueryParams({"type": row.type, "content": row.content})
        await self._call("DELETE", f"{PATH}?{query}", "")

    async def _call(self, method: str, target: str, body: str) -> Any:
        signed = token(self._key, self._application, (method, target, body), self._clock())
        headers = {"Authorization": f"Bearer {signed}", "Content-Type": "application/json;charset=utf-8"}
        try:
            answer = await self._client.request(
                method, self._base + target, content=body.encode(), headers=headers, follow_redirects=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"{self._base}: {error or type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK or len(answer.content) > MAX_ANSWER:
            raise SourceError(f"{self._base} answers with status {answer.status_code}")
        return _data(answer.content)


def _data(raw: bytes) -> Any:
    try:
        document = msgspec.json.decode(raw)
        meta = document["Meta"]
        if meta["Result"] != 1 or meta.get("ErrorCode", 0) != 0:
            raise SourceError(f"Apex Central refuses: {meta.get('ErrorMsg') or meta.get('ErrorCode')}")
        return document.get("Data")
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        raise SourceError("Apex Central answers with something else than Data and Meta") from None


def _row(item: Mapping[str, Any]) -> Row:
    def text(name: str) -> str:
        value = item.get(name)
        return value if isinstance(value, str) and value != "None" else ""

    names = ("type", "content", "notes", "scan_action", "expiration_utc_date")
    return Row(*(text(name) for name in names))


def objects_of(rows: Iterable[Row], *, new_id: Callable[[], str], created: datetime) -> tuple[list[Object], list[str]]:
    """Theirs as objects of ours, and a line for each that is none. What we put there ourselves is left out."""
    found: dict[tuple[str, str, str], Object] = {}
    refused = []
    for row in rows:
        if row.notes.startswith(MARK):
            continue
        fields = {
            "type": _TYPES.get(row.type.lower(), row.type),
            "value": row.content,
            "action": row.scan_action or "log",
            "note": row.notes,
            "expires": row.expires,
            "source": SOURCE,
        }
        try:
            item = parse_object(fields, object_id=new_id(), created=created)
        except Invalid as error:
            refused.append(f"{row.type} {row.content[:80]}: {error}")
        else:
            found[item.type, item.value, item.action] = item
    return list(found.values()), refused


def plan(ours: Iterable[Object], theirs: Iterable[Row], now: datetime) -> tuple[list[Row], list[Row]]:
    """What to put there and what to take away, so that they have our own objects to block and to log, and keep theirs."""
    wanted = {(row.type, row.content): row for row in map(_as_row, ours) if row is not None}
    wanted = {key: row for key, row in wanted.items() if not row.expires or row.expires > _stamp(now)}
    there = {(row.type, row.content): row for row in theirs}
    added = [row for key, row in wanted.items() if key not in there or _differs(there[key], row)]
    removed = [row for key, row in there.items() if row.notes.startswith(MARK) and key not in wanted]
    return added, removed


def _as_row(item: Object) -> Row | None:
    exchanged = item.type in _PUSHED_TYPES and item.action in _PUSHED_ACTIONS and item.source != SOURCE
    if not exchanged or item.value.startswith("*.") or (item.type == ObjectType.IP and "/" in item.value):
        return None  # they know no wildcards and no networks
    notes = (MARK + item.note)[:MAX_NOTES]
    return Row(item.type, item.value, notes, item.action, _stamp(item.expires) if item.expires else "")


def _differs(there: Row, wanted: Row) -> bool:
    """Only of what we put there: an object of theirs is theirs, whatever we would say about it."""
    fields = ("notes", "scan_action")
    changed = any(getattr(there, name) != getattr(wanted, name) for name in fields)
    return there.notes.startswith(MARK) and (changed or there.expires[:16] != wanted.expires[:16])


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
