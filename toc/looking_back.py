"""When to look back: at new objects, and at each new generation of a list. How far it came outlives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from reputation.feeds import Feed
from reputation.forms import Reading, plain_host
from reputation.generations import open_current, replace
from reputation.index import Index
from reputation.objects import EFFECT, SOURCE, Object, ObjectAction, ObjectSet, ObjectType
from toc import domains, retrospect, snapshot
from toc.config import Config
from toc.errors import ListError
from toc.knowledge import feeds_of
from toc.retrospect import Accusers
from toc.store.schema import clicks, from_micros, inner_hosts, links, objects, shipments, to_micros
from toc.store.writing import insert
from toc.url import parse
from toc.verdict import MatchKind

MARK = "looked-back"
"""File beside the generations of a list: the one that was looked back from last."""

POSITION = "look-back:objects"
"""Row of `shipments`: when the newest object was created that was looked back from."""

OVERLAP = timedelta(minutes=1)
"""An object is dated before it is committed: those around the mark are looked at again, which writes nothing twice."""

_ACCUSING = tuple(action for action in ObjectAction if EFFECT[action][0] is MatchKind.THREAT)


class LookingBack:
    """One per installation, in the management process."""

    def __init__(self, config: Config, engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._lists = config.data_dir / "lists"
        self._feeds = [feed for feed in feeds_of(config) if feed.kind is MatchKind.THREAT]
        self._counter: int | None = None

    async def look(self) -> None:
        """At whatever is new since the last call."""
        await self._at_objects()
        for feed in self._feeds:
            await self._at_list(feed)

    async def _at_objects(self) -> None:
        now = self._clock()
        async with self._engine.connect() as connection:
            counter = (await snapshot.counters(connection)).get("objects", 0)
            if counter == self._counter:
                return
            new = await _new_objects(connection)
        for action in _ACCUSING:
            chosen = [item for item in new if item.action == action]
            if chosen:
                await retrospect.look_back(self._engine, accusing_objects(chosen, now), now=now)
        if new:
            await self._remember(max(item.created for item in new))
        self._counter = counter

    async def _remember(self, created: datetime) -> None:
        values = {"target": POSITION, "seq": to_micros(created), "failures": 0, "error": ""}
        async with self._engine.begin() as connection:
            statement = insert(connection, shipments).values(**values)
            await connection.execute(statement.on_conflict_do_update(index_elements=["target"], set_=values))

    async def _at_list(self, feed: Feed) -> None:
        folder = self._lists / feed.name
        try:
            new = open_current(folder)
        except ListError:
            return
        before = _marked(folder)
        if before == new.generation:
            return
        now = self._clock()
        old = _old(folder, before)
        hosts = new.beyond(old) if old is not None else await self._met_by(new)
        await retrospect.look_back(self._engine, accusing_list(feed, new, hosts, now), now=now)
        replace(folder / MARK, new.generation.encode("ascii"))

    async def _met_by(self, index: Index) -> list[str]:
        """The hosts on record under which a whole list has entries: a list may have millions, the record has fewer hosts."""
        async with self._engine.connect() as connection:
            tables = (clicks, links, inner_hosts)
            names = {name for table in tables for name in await domains.on_record(connection, table, column="host")}
        return await asyncio.to_thread(lambda: [name for name in names if index.knows(plain_host(name))])


async def _new_objects(connection: AsyncConnection) -> list[Object]:
    mark = await connection.scalar(select(shipments.c.seq).where(shipments.c.target == POSITION))
    query = select(objects).where(objects.c.action.in_(_ACCUSING))
    if mark is not None:
        query = query.where(objects.c.created > from_micros(mark) - OVERLAP)
    return [Object(**row) for row in (await connection.execute(query)).mappings()]


def accusing_objects(found: list[Object], now: datetime) -> Accusers:
    """All of one action."""
    known = ObjectSet.of(found)

    def find(reading: Reading) -> str | None:
        return next((match.entry for match in known.match(reading, now)), None)

    hosts = [host for item in found if (host := _host_of(item))]
    return Accusers(SOURCE, hosts, find, int(EFFECT[found[0].action][1]))


def _host_of(item: Object) -> str:
    match item.type:
        case ObjectType.DOMAIN:
            return item.value.removeprefix("*.")
        case ObjectType.URL:
            return Reading(parse(item.value)).host
        case _:
            return ""  # addresses are looked up as they stand on record; digests meet no URL


def accusing_list(feed: Feed, new: Index, hosts: Iterable[str], now: datetime) -> Accusers:
    """The entries of `new` under these hosts."""

    def find(reading: Reading) -> str | None:
        hits = (hit for hit in new.find(reading) if hit.expires is None or hit.expires > now.timestamp())
        return next((hit.entry for hit in hits), None)

    return Accusers(feed.name, hosts, find, int(feed.level))


def _marked(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (folder / MARK).read_text("ascii").strip()
    return ""


def _old(folder: Path, generation: str) -> Index | None:
    """None where it lies here no more: then every entry is looked back from."""
    with suppress(ListError):
        return Index.open(folder / f"{generation}.idx") if generation.isalnum() else None
    return None
