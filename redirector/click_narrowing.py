"""Searches by a part of a URL, a part of a subject, or a reason, made quick. Knows the indexes of each database.

Two ways lead to the newest clicks that fit. Where little fits, an index names it all, and it is sorted. Where much fits, the
newest clicks are read one by one until the page is full, which then is soon. Which it is, a look of at most `FEW` entries
into the index tells.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, and_, collate, exists, false, func, literal_column, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.store.schema import clicks, messages, subject_grams
from toc.store.search_text import grams
from toc.store.writing import containing

FEW = 2000
"""URLs, mails or clicks."""

TRIGRAM = 3
"""Characters below which no index knows a part of a URL."""

BEGINNING = 200
"""Characters of a URL in PostgreSQL's index: a row of it holds no more than a third of a page (2,704 bytes)."""

Condition = ColumnElement[bool]

_URLS = text("SELECT url FROM urls WHERE id IN (SELECT rowid FROM urls_text WHERE urls_text MATCH :part LIMIT :limit)")

_BEGINNING = text("SELECT url FROM urls WHERE url >= :part AND url < :beyond LIMIT :limit")

_WHOLE = ("http://", "https://")

_REASONS = text(
    "WITH RECURSIVE known(reasons) AS (SELECT min(reasons) FROM clicks UNION ALL "
    "SELECT (SELECT min(clicks.reasons) FROM clicks WHERE clicks.reasons > known.reasons) FROM known "
    "WHERE known.reasons IS NOT NULL) SELECT reasons FROM known WHERE reasons IS NOT NULL"
)
"""Each value once, from one index entry to the next."""


async def url_part(connection: AsyncConnection, value: str) -> Condition:
    """Clicks on URLs that hold `value`, or, where it has a scheme, on those that begin so.

    Of a part, upper and lower case of ASCII are the same.
    """
    if not value.isascii():  # as it stands in the record
        value = quote(value, safe="%!#$&'()*+,/:;=?@[]-._~")
    whole = value.startswith(_WHOLE)
    holds: Condition = clicks.c.url.startswith(value, autoescape=True)
    if not whole:
        holds = clicks.c.url.icontains(value, autoescape=True)
    if connection.dialect.name != "sqlite":
        return and_(_begins(value), holds) if whole else holds
    if len(value) < TRIGRAM:
        return holds
    if whole:
        bounds = {"part": value, "beyond": value + "\U0010ffff", "limit": FEW + 1}
        found = (await connection.execute(_BEGINNING, bounds)).scalars().all()
    else:
        quoted = '"' + value.replace('"', '""') + '"'
        found = (await connection.execute(_URLS, {"part": quoted, "limit": FEW + 1})).scalars().all()
    if len(found) > FEW:
        return holds
    return and_(clicks.c.url.in_(found), holds) if found else false()


def _begins(value: str) -> Condition:
    """In the words of PostgreSQL's index (migration 0006). A range, as a prepared LIKE could not use it."""
    beginning = collate(func.left(clicks.c.url, literal_column(str(BEGINNING))), "C")
    known = value[:BEGINNING]
    return and_(beginning >= known, beginning < known + "\U0010ffff")


async def subject_part(connection: AsyncConnection, value: str) -> Condition:
    """Clicks in mails whose subject holds `value`."""
    holds = containing(messages.c.subject, value)
    query = select(messages.c.ref).where(holds)
    for gram in sorted(grams(value)):
        query = query.where(messages.c.ref.in_(select(subject_grams.c.message_ref).where(subject_grams.c.gram == gram)))
    found = (await connection.execute(query.limit(FEW + 1))).scalars().all()
    if len(found) > FEW:
        return exists().where(messages.c.ref == clicks.c.message_ref, holds)
    return clicks.c.message_ref.in_(found) if found else false()


async def reason(connection: AsyncConnection, code: str) -> Condition:
    """Clicks with this reason code among their reasons."""
    mark = f",{code},"
    known = (await connection.execute(_REASONS)).scalars().all()
    fitting = [reasons for reasons in known if mark in reasons]
    if not fitting:
        return false()
    some = select(clicks.c.seq).where(clicks.c.reasons.in_(fitting)).limit(FEW + 1).subquery()
    count = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
    if count > FEW:
        return clicks.c.reasons.contains(mark, autoescape=True)
    return clicks.c.reasons.in_(fitting)


PARTS: dict[str, Any] = {"url": url_part, "subject": subject_part, "reason": reason}


async def narrowed(connection: AsyncConnection, filters: dict[str, str]) -> Condition:
    """The conditions of the filters in `PARTS`."""
    found = [await PARTS[name](connection, value) for name, value in filters.items() if name in PARTS]
    return and_(true(), *found)
