"""Looking back: who met an entry before it was known. New objects and new list entries against the record.

    new entries ─▶ their registrable domains ─▶ clicks and held links there, by index ─▶ each URL looked up ─▶ `hits`

A hit on a click says that somebody was led to what is convicted now; one on a link, that somebody may still hold it. Each is
written once, whatever is looked at again. Hits are events: alerts are made of them (`hits.alerted`), and
`GET /v1/hits` shows them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from redirector.clicks import Event
from reputation.forms import Reading, forms, host_suffixes
from toc import domains
from toc.errors import BadUrl
from toc.store.schema import clicks, hits, inner_hosts, links
from toc.store.writing import insert
from toc.url import parse_serialised, registrable_domain

log = structlog.get_logger("toc.retrospect")

FOUND = Counter("toc_retrospective_hits_total", "Clicks and held links that an entry added later accuses", ["source"])

DOMAINS = 400
"""Registrable domains of one question to the database."""

PAGE = 500
"""Rows between two breaths of the event loop: about 10 ms."""

MOST = 50_000
"""Hits of one look. An entry that accuses more is a mistake, or no news."""

CLICK_DAYS = 90
"""Clicks before that are left alone: what is said of a host today says little about what stood there then."""

_THROUGH = (int(Event.FORWARDED), int(Event.PROCEEDED))


@dataclass(frozen=True, slots=True)
class Accusers:
    """New entries of one source. `hosts`: under which they stand; `find`: the entry that a reading meets, None for none.

    level: of the entries; a link that was known to be as bad when it was rewritten is no news
    """

    source: str
    hosts: Iterable[str]
    find: Callable[[Reading], str | None]
    level: int


@dataclass(frozen=True, slots=True)
class Found:
    """How many hits are new."""

    clicks: int
    links: int


async def look_back(engine: AsyncEngine, accusers: Accusers, *, now: datetime) -> Found:
    """Write a hit for each click that was led on, and each rewritten link, that meets one of the entries."""
    told = Found(0, 0)
    async with engine.connect() as connection:
        names = chain(await _addresses(connection), accusers.hosts)
    while told.clicks + told.links < MOST and (part := await asyncio.to_thread(_some, names)):
        async with engine.connect() as connection:
            met_clicks = await _met(connection, _clicks_in(part, now), accusers, part)
            met_links = await _met(connection, _links_in(part), accusers, part)
            met_links |= await _met(connection, _wrappers_of(part), accusers, part)
            met_clicks |= await _met(connection, _clicks_on_wrappers_of(part, now), accusers, part)
        rows = [_row(now, accusers.source, entry, click=key) for key, entry in met_clicks.items()]
        rows += [_row(now, accusers.source, entry, link=key) for key, entry in met_links.items()]
        new = await _write(engine, rows)
        told = Found(told.clicks + new.clicks, told.links + new.links)
    if told.clicks or told.links:
        FOUND.labels(accusers.source).inc(told.clicks + told.links)
        log.warning("retrospective_hits", source=accusers.source, clicks=told.clicks, links=told.links)
    return told


async def _addresses(connection: AsyncConnection) -> list[str]:
    """All on record, as networks may be accused: they are few, and each is looked up."""
    tables = (clicks, links, inner_hosts)
    return [name for table in tables for name in await domains.on_record(connection, table, addresses=True)]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some entries' hosts, and the registrable domains that they lie in."""

    hosts: frozenset[str]
    domains: tuple[str, ...]


def _some(names: Iterator[str]) -> _Part | None:
    """The next entries. Making them may take a while (a list is read for them): not in the event loop."""
    hosts = frozenset(islice(names, DOMAINS))
    return _Part(hosts, tuple({registrable_domain(host) for host in hosts})) if hosts else None


_CLICK = (clicks.c.seq, clicks.c.id, clicks.c.url, clicks.c.evidence)
_LINK = (links.c.id.label("seq"), links.c.id, links.c.url, links.c.level)


def _led_on(now: datetime) -> ColumnElement[bool]:
    return and_(clicks.c.event.in_(_THROUGH), clicks.c.time >= now - timedelta(days=CLICK_DAYS))


def _clicks_in(part: _Part, now: datetime) -> Select[Any]:
    return select(*_CLICK, clicks.c.host).where(clicks.c.domain.in_(part.domains), _led_on(now))


def _links_in(part: _Part) -> Select[Any]:
    return select(*_LINK, links.c.host).where(links.c.domain.in_(part.domains), links.c.outcome == "rewritten")


def _wrappers_of(part: _Part) -> Select[Any]:
    inside = inner_hosts.c.domain.in_(part.domains) & (inner_hosts.c.link == links.c.id)
    return select(*_LINK, inner_hosts.c.host).where(inside, links.c.outcome == "rewritten")


def _clicks_on_wrappers_of(part: _Part, now: datetime) -> Select[Any]:
    inside = inner_hosts.c.domain.in_(part.domains) & (inner_hosts.c.link == links.c.id)
    same = clicks.c.message_ref == links.c.message_ref
    return select(*_CLICK, inner_hosts.c.host).where(inside, same, _led_on(now))


async def _met(connection: AsyncConnection, query: Select[Any], accusers: Accusers, part: _Part) -> dict[Any, str]:
    """Id of the row → the entry. Most rows lie beside the entries, on other hosts of a domain."""
    found: dict[Any, str] = {}
    async with connection.stream(query) as result:
        async for rows in result.mappings().partitions(PAGE):
            for row in rows:
                if not part.hosts.isdisjoint(host_suffixes(row["host"].rstrip("."))) and (
                    entry := _accused(row, accusers)
                ):
                    found[row["id"]] = entry
            await asyncio.sleep(0)
    return found


def _accused(row: Any, accusers: Accusers) -> str | None:
    """The entry that the URL meets, if that is news: the same source said nothing then."""
    try:
        readings = forms(parse_serialised(row["url"])).readings
    except BadUrl:
        return None
    entry = next((entry for reading in readings if (entry := accusers.find(reading)) is not None), None)
    if entry is None:
        return None
    if "evidence" in row:
        return None if f'"source":"{accusers.source}"' in row["evidence"] else entry
    return None if row["level"] is not None and row["level"] >= accusers.level else entry


def _row(now: datetime, source: str, entry: str, *, click: str = "", link: int = 0) -> dict[str, Any]:
    return {"time": now, "source": source, "entry": entry, "click": click, "link": link}


async def _write(engine: AsyncEngine, rows: Sequence[dict[str, Any]]) -> Found:
    """How many of them are new."""
    new: list[str] = []
    async with engine.begin() as connection:
        for start in range(0, len(rows), PAGE):
            some = insert(connection, hits).values(rows[start : start + PAGE])
            new += (await connection.execute(some.on_conflict_do_nothing().returning(hits.c.click))).scalars()
    clicked = sum(map(bool, new))
    return Found(clicked, len(new) - clicked)
