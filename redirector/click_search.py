"""Finding clicks again: filters, pages with a stable cursor, and the people and mails behind them. Knows the tables.

A page is cut by the row number, newest first, so that clicks that arrive meanwhile move nothing.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from redirector.click_filters import Condition, conditions
from redirector.click_narrowing import narrowed
from redirector.clicks import Mail, document
from toc.errors import RequestError
from toc.store.schema import clicks, holders, messages, people
from toc.token import NO_REF, normal_address

EXPORT_PAGE = 2000


def _of_person(address: str) -> tuple[Condition, Condition]:
    """Clicks on links that name the recipient, and on those of mails that he holds whose links name nobody.

    Two queries and not one with an OR: each then has an index in the order of the page. No reference is less than `NO_REF`,
    so that ``<=`` says ``=``, but leads no query to the index where all links that name nobody stand together.
    """
    ref = select(people.c.ref).where(people.c.address == normal_address(address)).scalar_subquery()
    held = select(holders.c.message_ref).where(holders.c.recipient_ref == ref)
    return clicks.c.recipient_ref == ref, clicks.c.message_ref.in_(held) & (clicks.c.recipient_ref <= NO_REF)


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
        following = _cursor(rows[-1]["seq"])
    return await documents(connection, rows), following


async def following(
    connection: AsyncConnection, filters: Mapping[str, str], *, limit: int, cursor: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """The oldest clicks after `cursor` that fit, and the cursor to go on with, now or when more have come.

    Without a cursor they begin with the oldest on record. Raises RequestError.
    """
    after = _from_cursor(cursor) if cursor else 0
    last = max(await _newest(connection), after)
    parts = await narrowed(connection, dict(filters))
    query = select(clicks).where(parts, *conditions(filters), clicks.c.seq > after).order_by(clicks.c.seq).limit(limit)
    if "recipient" in filters:
        query = query.where(or_(*_of_person(filters["recipient"])))
    rows = (await connection.execute(query)).mappings().all()
    if len(rows) == limit or (rows and rows[-1]["seq"] > last):
        last = rows[-1]["seq"]
    return await documents(connection, rows), _cursor(last)


async def newest(connection: AsyncConnection) -> str:
    """The cursor after which only clicks come that are not on record yet."""
    return _cursor(await _newest(connection))


async def _newest(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(func.max(clicks.c.seq))) or 0)


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
    shared = {bytes(row["message_ref"]) for row in rows if bytes(row["recipient_ref"]) == NO_REF} - {NO_REF}
    holding = await _holders(connection, shared)
    named = {bytes(row["recipient_ref"]) for row in rows} | {ref for held in holding.values() for ref in held}
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


def _cursor(seq: int) -> str:
    return urlsafe_b64encode(str(seq).encode()).decode()


def _from_cursor(text: str) -> int:
    try:
        return int(urlsafe_b64decode(text))
    except ValueError:
        raise RequestError("this cursor is none of ours") from None
