"""The record of rewritten mails: facts, receipt, holders, first sight of hosts. Knows tables, no mail parsing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.errors import BadUrl
from toc.store.schema import first_seen, holders, inner_hosts, links, messages, people, subject_grams
from toc.store.search_text import grams
from toc.store.writing import insert_for, insert_new
from toc.unwrap import inner_urls, may_wrap
from toc.url import Url, parse


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """One receipt row, ready to be stored."""

    part: str
    kind: str
    url: str
    spelling: str
    outcome: str
    reason: str
    link: str | None
    level: int | None


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is recorded of one rewritten mail. `people` maps references to addresses (empty: pseudonymous)."""

    ref: bytes
    time: datetime
    message_id: str
    sender_ref: bytes | None
    subject: str
    direction: int
    size: int
    complete: bool
    worst_level: int | None
    recipients: tuple[bytes, ...]
    people: dict[str, bytes]
    links: tuple[LinkRow, ...]


_NOT_STORED = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL takes no NUL, UTF-8 no lone surrogate; mails hold both."""


def recordable(record: MessageRecord) -> MessageRecord:
    """The record with a replacement character for each one that no database takes."""
    return msgspec.structs.replace(
        record,
        message_id=_clean(record.message_id),
        subject=_clean(record.subject),
        people={_clean(address): ref for address, ref in record.people.items()},
        links=tuple(
            msgspec.structs.replace(row, url=_clean(row.url), spelling=_clean(row.spelling)) for row in record.links
        ),
    )


def _clean(text: str) -> str:
    return _NOT_STORED.sub("\ufffd", text)


async def store(connection: AsyncConnection, record: MessageRecord) -> None:
    """Add the record; a message that was recorded before gains holders, and nothing twice."""
    await connection.run_sync(store_all, (record,))


def store_all(connection: Connection, records: Iterable[MessageRecord]) -> None:
    """`store` for several, within the caller's transaction."""
    for record in records:
        _store(connection, recordable(record))


def _store(connection: Connection, record: MessageRecord) -> None:
    if record.people:
        rows = [{"ref": ref, "address": address} for address, ref in sorted(record.people.items())]
        connection.execute(insert_new(connection, people), rows)
    facts = {name: getattr(record, name) for name in _FACTS}
    added = connection.execute(insert_new(connection, messages), facts).rowcount
    if added and (pairs := grams(record.subject)):
        found = [{"gram": gram, "message_ref": record.ref} for gram in sorted(pairs)]
        connection.execute(insert_new(connection, subject_grams), found)
    if record.recipients:
        rows = [{"message_ref": record.ref, "recipient_ref": ref} for ref in sorted(set(record.recipients))]
        connection.execute(insert_new(connection, holders), rows)
    if added and record.links:
        placed = [(row, _parsed(row.url)) for row in record.links]
        connection.execute(_NEW_LINKS, [_link_values(record.ref, *found) for found in placed])
        _keep_inner_hosts(connection, record.ref, {row.url: url for row, url in placed if url is not None})
        _see(connection, record, [(url.host, url.domain) for _, url in placed if url is not None])


_FACTS = ("ref", "time", "message_id", "sender_ref", "subject", "direction", "size", "complete", "worst_level")
_NEW_LINKS = links.insert()


def _link_values(ref: bytes, row: LinkRow, url: Url | None) -> dict[str, Any]:
    return {
        "message_ref": ref,
        "part": row.part[:64],
        "kind": row.kind,
        "url": row.url,
        "spelling": row.spelling,
        "host": url.host if url is not None else "",
        "domain": url.domain if url is not None else "",
        "outcome": row.outcome,
        "reason": row.reason,
        "link": row.link,
        "level": row.level,
    }


def _parsed(url: str) -> Url | None:
    try:
        return parse(url)
    except BadUrl:
        return None


def _keep_inner_hosts(connection: Connection, ref: bytes, urls: Mapping[str, Url]) -> None:
    """What lies inside the wrappers among `urls`, which are links of this message."""
    inside = {text: inner for text, url in urls.items() if may_wrap(url) and (inner := inner_urls(url))}
    if not inside:
        return
    wrappers = select(links.c.id, links.c.url).where(links.c.message_ref == ref)
    rows = [
        {"domain": inner.domain, "link": row.id, "host": inner.host}
        for row in connection.execute(wrappers)
        for inner in inside.get(row.url, ())
    ]
    connection.execute(insert_new(connection, inner_hosts), rows)


def _see(connection: Connection, record: MessageRecord, hosts: Sequence[tuple[str, str]]) -> None:
    """Count each host and registrable domain once per message (docs/verdict.md, *first seen here*)."""
    if not hosts:
        return
    names = {name for pair in hosts for name in pair}
    once = {
        "time": record.time,
        "days": 1,
        "last_day": record.time.toordinal(),
        "messages": 1,
        "people": len(record.recipients),
    }
    connection.execute(_seeing(connection.dialect.name), [{"name": name, **once} for name in sorted(names)])


@cache
def _seeing(dialect: str) -> Any:
    statement = insert_for(dialect, first_seen)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "days": first_seen.c.days + case((first_seen.c.last_day < new.last_day, 1), else_=0),
            "last_day": new.last_day,
            "messages": first_seen.c.messages + 1,
            "people": first_seen.c.people + new.people,
        },
    )
