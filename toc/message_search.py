"""Finding rewritten mails again: filters, pages with a stable cursor, receipts and holders. Knows tables, no page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.errors import RequestError
from toc.store.schema import from_micros, holders, links, messages, people, subject_grams, to_micros
from toc.store.search_text import grams
from toc.token import Direction, normal_address
from toc.verdict import Level

Condition = ColumnElement[bool]

MOST_PAIRS = 4
"""Pairs of a subject that are looked up: more narrow no further, and each is a look-up of its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """One rewritten mail. Addresses that are not known, or erased, are missing; `holders` counts all."""

    ref: str
    time: datetime
    message_id: str
    subject: str
    sender: str
    recipients: tuple[str, ...]
    holders: int
    direction: str
    size: int
    complete: bool
    worst_level: str
    links: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """One URL of a mail. `level`: at the time of rewriting, empty where nobody was asked."""

    part: str
    kind: str
    url: str
    spelling: str
    host: str
    outcome: str
    reason: str
    link: str
    level: str


def _person(address: str) -> Any:
    return select(people.c.ref).where(people.c.address == normal_address(address)).scalar_subquery()


def _holder(address: str) -> Condition:
    return messages.c.ref.in_(select(holders.c.message_ref).where(holders.c.recipient_ref == _person(address)))


def _bool(expression: Any) -> Condition:
    return expression  # type: ignore[no-any-return]


def _linked(column: Any) -> Callable[[str], Condition]:
    return lambda value: messages.c.ref.in_(select(links.c.message_ref).where(column == value.lower()))


def _subject(value: str) -> Condition:
    """A part of it. In scripts without blanks its pairs of characters lead there; elsewhere the subjects are read."""
    pairs = sorted(grams(value))[:MOST_PAIRS]
    holding = (select(subject_grams.c.message_ref).where(subject_grams.c.gram == pair) for pair in pairs)
    return and_(messages.c.subject.contains(value, autoescape=True), *(messages.c.ref.in_(refs) for refs in holding))


_BY_NAME: Mapping[str, Callable[[str], Condition]] = {
    "recipient": _holder,
    "sender": lambda value: _bool(messages.c.sender_ref == _person(value)),
    "message_id": lambda value: _bool(messages.c.message_id == value),
    "subject": _subject,
    "host": _linked(links.c.host),
    "domain": _linked(links.c.domain),
}
FILTERS = tuple(_BY_NAME)


async def search(
    connection: AsyncConnection, filters: Mapping[str, str], *, limit: int, cursor: str = ""
) -> tuple[list[Found], str | None]:
    """The newest mails that fit, and the cursor of the next page. Raises RequestError for an unknown filter."""
    query = select(messages).order_by(messages.c.time.desc(), messages.c.ref.desc()).limit(limit + 1)
    for name, value in filters.items():
        if name not in _BY_NAME:
            raise RequestError(f"there is no filter {name!r}; known are {', '.join(FILTERS)}")
        query = query.where(_BY_NAME[name](value))
    if cursor:
        time, ref = _from_cursor(cursor)
        same = _bool(messages.c.time == time) & _bool(messages.c.ref < ref)
        query = query.where(or_(_bool(messages.c.time < time), same))
    rows = (await connection.execute(query)).mappings().all()
    following = None
    if len(rows) > limit:
        rows = rows[:limit]
        following = _cursor(rows[-1]["time"], bytes(rows[-1]["ref"]))
    return await _found(connection, rows), following


async def get(connection: AsyncConnection, ref: bytes) -> Found | None:
    rows = (await connection.execute(select(messages).where(messages.c.ref == ref))).mappings().all()
    return (await _found(connection, rows))[0] if rows else None


async def receipt(connection: AsyncConnection, ref: bytes, url: str = "", limit: int = 1000) -> list[Receipt]:
    """The rows of a mail's receipt in their order; with `url` only those of that one."""
    query = select(links).where(links.c.message_ref == ref).order_by(links.c.id).limit(limit)
    if url:
        query = query.where(links.c.url == url)
    return [_receipt(row) for row in (await connection.execute(query)).mappings()]


def _receipt(row: Mapping[Any, Any]) -> Receipt:
    level = Level(row["level"]).code if row["level"] is not None else ""
    return Receipt(
        part=row["part"],
        kind=row["kind"],
        url=row["url"],
        spelling=row["spelling"],
        host=row["host"],
        outcome=row["outcome"],
        reason=row["reason"],
        link=row["link"] or "",
        level=level,
    )


async def _found(connection: AsyncConnection, rows: Sequence[Mapping[Any, Any]]) -> list[Found]:
    refs = [bytes(row["ref"]) for row in rows]
    counted = dict.fromkeys(refs, 0)
    holding: dict[bytes, list[bytes]] = {ref: [] for ref in refs}
    count = select(links.c.message_ref, func.count()).where(links.c.message_ref.in_(refs)).group_by(links.c.message_ref)
    for ref, number in await connection.execute(count):
        counted[bytes(ref)] = number
    for row in await connection.execute(select(holders).where(holders.c.message_ref.in_(refs))):
        holding[bytes(row.message_ref)].append(bytes(row.recipient_ref))
    named = {ref for found in holding.values() for ref in found}
    named |= {bytes(row["sender_ref"]) for row in rows if row["sender_ref"] is not None}
    known = await connection.execute(select(people).where(people.c.ref.in_(named)))
    addresses = {bytes(row.ref): row.address for row in known}
    return [_one(row, holding[bytes(row["ref"])], counted[bytes(row["ref"])], addresses) for row in rows]


def _one(row: Mapping[Any, Any], holding: list[bytes], links: int, addresses: Mapping[bytes, str]) -> Found:
    return Found(
        ref=bytes(row["ref"]).hex(),
        time=row["time"],
        message_id=row["message_id"],
        subject=row["subject"],
        sender=addresses.get(bytes(row["sender_ref"] or b""), ""),
        recipients=tuple(sorted(addresses[ref] for ref in holding if ref in addresses)),
        holders=len(holding),
        direction=Direction(row["direction"]).name.lower(),
        size=row["size"],
        complete=row["complete"],
        worst_level=Level(row["worst_level"]).code if row["worst_level"] is not None else "",
        links=links,
    )


def _cursor(time: datetime, ref: bytes) -> str:
    return urlsafe_b64encode(f"{to_micros(time)}.{ref.hex()}".encode()).decode()


def _from_cursor(text: str) -> tuple[datetime, bytes]:
    try:
        micros, _, ref = urlsafe_b64decode(text).decode("ascii").partition(".")
        return from_micros(int(micros)), bytes.fromhex(ref)
    except (ValueError, OverflowError, OSError):
        raise RequestError("this cursor is none of ours") from None
