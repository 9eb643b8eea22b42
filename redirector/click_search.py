"""Finding clicks again: filters, pages with a stable cursor, and the people and mails behind them. Knows the tables.

A page is cut by the row number, newest first, so that clicks that arrive meanwhile move nothing.
"""

from __future__ import annotations

import ipaddress
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from redirector.actor import ActorKind
from redirector.click_narrowing import PARTS, narrowed
from redirector.clicks import Event, Mail, document
from redirector.rate import network_of
from toc.errors import RequestError
from toc.policy import Action
from toc.store.schema import clicks, holders, messages, people
from toc.token import NO_REF, normal_address
from toc.verdict import Level

EXPORT_PAGE = 2000

Condition = ColumnElement[bool]


def _word(column: Any, words: Mapping[str, int]) -> Callable[[str, str], Condition]:
    def condition(value: str, name: str) -> Condition:
        if value not in words:
            raise RequestError(f"{name} = {value[:40]!r} is none of {', '.join(words)}")
        return bool_of(column == words[value])

    return condition


def bool_of(expression: Any) -> Condition:
    return expression  # type: ignore[no-any-return]


def _time(value: str, name: str, zone: ZoneInfo) -> datetime:
    """RFC 3339, or a date or time without a zone, which is meant in the query's zone."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise RequestError(f"{name} = {value[:40]!r} is no time such as 2026-11-24T09:00:00Z or 2026-11-24") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _of_person(address: str) -> tuple[Condition, Condition]:
    """Clicks on links that name the recipient, and on those of mails that he holds whose links name nobody.

    Two queries and not one with an OR: each then has an index in the order of the page. No reference is less than `NO_REF`,
    so that ``<=`` says ``=``, but leads no query to the index where all links that name nobody stand together.
    """
    ref = select(people.c.ref).where(people.c.address == normal_address(address)).scalar_subquery()
    held = select(holders.c.message_ref).where(holders.c.recipient_ref == ref)
    return bool_of(clicks.c.recipient_ref == ref), clicks.c.message_ref.in_(held) & (clicks.c.recipient_ref <= NO_REF)


def _in_messages(condition: Callable[[str], Condition]) -> Callable[[str, str], Condition]:
    def found(value: str, _name: str) -> Condition:
        return clicks.c.message_ref.in_(select(messages.c.ref).where(condition(value)))

    return found


def _sender(value: str) -> Condition:
    ref = select(people.c.ref).where(people.c.address == normal_address(value)).scalar_subquery()
    return bool_of(messages.c.sender_ref == ref)


def _network(value: str, name: str) -> Condition:
    """An address, its /24 or /56, or any larger network that these lie in whole."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise RequestError(f"{name} = {value[:60]!r} is neither an address nor a network") from None
    if network.num_addresses == 1:
        return bool_of(clicks.c.network == network_of(str(network.network_address))) & bool_of(clicks.c.client == value)
    return bool_of(clicks.c.network == network_of(str(network.network_address)))


_BY_NAME: dict[str, Callable[[str, str], Condition]] = {
    "sender": _in_messages(_sender),
    "message_id": _in_messages(lambda value: bool_of(messages.c.message_id == value)),
    "host": lambda value, _: bool_of(clicks.c.host == value.lower()),
    "domain": lambda value, _: bool_of(clicks.c.domain == value.lower()),
    "action": _word(clicks.c.action, {item.code: int(item) for item in Action}),
    "level": _word(clicks.c.level, {item.code: int(item) for item in Level}),
    "event": _word(clicks.c.event, {item.code: int(item) for item in Event}),
    "actor": _word(clicks.c.actor, {item.code: int(item) for item in ActorKind}),
    "source": lambda value, _: clicks.c.evidence.contains(f'"source":"{value}"', autoescape=True),
    "network": _network,
    "group": lambda value, _: bool_of(clicks.c.grp == value),
    "message_ref": lambda value, name: bool_of(clicks.c.message_ref == _hex(value, name)),
}

FILTERS = ("from", "to", "zone", "recipient", *PARTS, *_BY_NAME)
"""Names of the query parameters."""


def _hex(value: str, name: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise RequestError(f"{name} = {value[:40]!r} is not hexadecimal") from None


def conditions(filters: Mapping[str, str]) -> list[Condition]:
    """All but those of which `search` itself takes care.

    Raises RequestError for a name or value that is not understood: a filter that is ignored would mislead.
    """
    try:
        zone = ZoneInfo(filters.get("zone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        raise RequestError(f"zone = {filters['zone'][:40]!r} is no IANA zone such as Asia/Tokyo") from None
    found: list[Condition] = []
    for name, value in filters.items():
        if name == "from":
            found.append(clicks.c.time >= _time(value, name, zone))
        elif name == "to":
            found.append(clicks.c.time < _time(value, name, zone))
        elif name in _BY_NAME:
            found.append(_BY_NAME[name](value, name))
        elif name not in ("zone", "recipient", *PARTS):
            raise RequestError(f"there is no filter {name!r}; known are {', '.join(FILTERS)}")
    return found


async def search(
    connection: AsyncConnection, filters: Mapping[str, str], *, limit: int, cursor: str = ""
) -> tuple[list[dict[str, Any]], str | None]:
    """The newest clicks that fit, and the cursor of the next page."""
    parts = await narrowed(connection, dict(filters))
    query: Select[Any] = (
        select(clicks).where(parts, *conditions(filters)).order_by(clicks.c.seq.desc()).limit(limit + 1)
    )
    if cursor:
        query = query.where(clicks.c.seq < _from_cursor(cursor))
    ways = _of_person(filters["recipient"]) if "recipient" in filters else (true(),)
    rows = [row for way in ways for row in (await connection.execute(query.where(way))).mappings()]
    rows = sorted(rows, key=lambda row: -row["seq"])[: limit + 1]
    following = None
    if len(rows) > limit:
        rows = rows[:limit]
        following = urlsafe_b64encode(str(rows[-1]["seq"]).encode()).decode()
    return await documents(connection, rows), following


async def get(connection: AsyncConnection, click_id: str) -> dict[str, Any] | None:
    row = (await connection.execute(select(clicks).where(clicks.c.id == click_id))).mappings().first()
    return (await documents(connection, [row]))[0] if row is not None else None


async def stream(connection: AsyncConnection, filters: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Every click that fits, newest first, a page at a time."""
    cursor = ""
    while True:
        found, following = await search(connection, filters, limit=EXPORT_PAGE, cursor=cursor)
        for item in found:
            yield item
        if following is None:
            return
        cursor = following


async def documents(connection: AsyncConnection, rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Rows with the mail and the people that their references name."""
    refs = {bytes(row["message_ref"]) for row in rows} - {NO_REF}
    mails = await _mails(connection, refs)
    holding = await _holders(connection, refs)
    named = {bytes(row["recipient_ref"]) for row in rows} | {ref for refs in holding.values() for ref in refs}
    named |= {bytes(mail["sender_ref"]) for mail in mails.values() if mail["sender_ref"] is not None}
    addresses = await _addresses(connection, named)
    found = []
    for row in rows:
        mail = mails.get(bytes(row["message_ref"]))
        recipient = bytes(row["recipient_ref"])
        candidates = [recipient] if recipient != NO_REF else holding.get(bytes(row["message_ref"]), [])
        sender = bytes(mail["sender_ref"]) if mail is not None and mail["sender_ref"] is not None else b""
        known = Mail(
            message_id=mail["message_id"] if mail is not None else "",
            sender=addresses.get(sender, ""),
            recipients=tuple(addresses[ref] for ref in candidates if ref in addresses),
            subject=mail["subject"] if mail is not None else "",
        )
        found.append(document(row, known))
    return found


async def _mails(connection: AsyncConnection, refs: set[bytes]) -> dict[bytes, Mapping[Any, Any]]:
    if not refs:
        return {}
    rows = await connection.execute(select(messages).where(messages.c.ref.in_(refs)))
    return {bytes(row["ref"]): row for row in rows.mappings()}


async def _holders(connection: AsyncConnection, refs: set[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    if refs:
        for row in await connection.execute(select(holders).where(holders.c.message_ref.in_(refs))):
            found.setdefault(bytes(row.message_ref), []).append(bytes(row.recipient_ref))
    return found


async def _addresses(connection: AsyncConnection, refs: set[bytes]) -> dict[bytes, str]:
    if not refs:
        return {}
    rows = await connection.execute(select(people).where(people.c.ref.in_(refs)))
    return {bytes(row.ref): row.address for row in rows}


def _from_cursor(text: str) -> int:
    try:
        return int(urlsafe_b64decode(text))
    except ValueError:
        raise RequestError("this cursor is none of ours") from None
