"""Objects in the database. Invariants: every change moves the counter that workers watch, and has its line in the trail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from reputation import object_store
from reputation.objects import Object, parse_object
from toc import audit, snapshot
from toc.errors import NotFound, RequestError
from toc.store.engine import open_async

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    engine = open_async(database)
    async with engine.begin() as opened:
        yield opened
    await engine.dispose()


def made(value: str, number: int = 0, **more: object) -> Object:
    return parse_object({"type": "domain", "value": value, **more}, object_id=f"{number:04}", created=NOW)


async def state(connection: AsyncConnection) -> tuple[int, list[str]]:
    counter = (await snapshot.counters(connection)).get("objects", 0)
    return counter, [f"{row['actor']} {row['verb']} {row['subject']}" for row in await audit.page(connection, 100)]


async def test_every_change_is_counted_and_told(connection):
    add = object_store.add
    await add(connection, made("a.example", 1), actor="key:one", now=NOW)
    await object_store.add_many(connection, [made("b.example", 2), made("c.example", 3)], actor="command", now=NOW)
    await object_store.remove(connection, "0001", actor="user:x", now=NOW)
    await add(connection, made("d.example", 4, expires=NOW), actor="key:one", now=NOW)
    assert await object_store.remove_expired(connection, now=NOW) == 1
    counter, trail = await state(connection)
    assert trail == [
        "service objects_expired 1 objects",
        "key:one object_added domain d.example",
        "user:x object_removed domain a.example",
        "command objects_imported 2 objects",
        "key:one object_added domain a.example",
    ]
    assert counter == len(trail)
    taken = await snapshot.take(connection)
    assert sorted(row.value for row in taken.objects) == ["b.example", "c.example"]


async def test_nothing_expired_moves_nothing(connection):
    await object_store.add(connection, made("a.example", 1, expires=NOW + timedelta(seconds=1)), actor="x", now=NOW)
    before = await state(connection)
    assert await object_store.remove_expired(connection, now=NOW) == 0
    assert await state(connection) == before


async def test_the_same_object_again_replaces_its_note_and_keeps_its_id(connection):
    await object_store.add(connection, made("a.example", 1, note="old"), actor="x", now=NOW)
    stored = await object_store.add(connection, made("A.example.", 2, note="new"), actor="x", now=NOW)
    assert (stored.id, stored.note) == ("0001", "new")
    other = await object_store.add(connection, made("a.example", 3, action="log"), actor="x", now=NOW)
    assert other.id == "0003"  # another action is another object


async def test_an_import_leaves_what_stands(connection):
    await object_store.add(connection, made("a.example", 1, note="ours"), actor="x", now=NOW)
    again = [made("a.example", 2, note="theirs"), made("b.example", 3)]
    assert await object_store.add_many(connection, again, actor="x", now=NOW) == 1
    assert [(item.value, item.note) for item in await object_store.everything(connection)] == [
        ("a.example", "ours"),
        ("b.example", ""),
    ]


async def test_a_long_import_counts_what_is_new(connection):
    """Over the border of what goes at once; the same again, within the import and before it, is not new."""
    await object_store.add(connection, made("h7.example", 9000), actor="x", now=NOW)
    items = [made(f"h{number % 1100}.example", number) for number in range(1203)]
    assert await object_store.add_many(connection, items, actor="x", now=NOW) == 1099
    assert len(await object_store.everything(connection)) == 1100
    assert (await audit.page(connection, 1))[0]["detail"] == "1099 block"


async def test_pages_join_into_the_whole(connection):
    items = [made(f"h{number}.example", number, note="100%" if number % 2 else "") for number in range(25)]
    await object_store.add_many(connection, items, actor="x", now=NOW)
    found, cursor = await object_store.page(connection, limit=10)
    while cursor:
        more, cursor = await object_store.page(connection, limit=10, cursor=cursor)
        found += more
    assert [item.id for item in found] == [item.id for item in items]
    marked, _ = await object_store.page(connection, limit=100, text="0%")
    assert len(marked) == 12  # the per cent sign is a character, not a wildcard
    assert (await object_store.page(connection, limit=10, kind="url"))[0] == []
    with pytest.raises(RequestError):
        await object_store.page(connection, limit=10, cursor="é")


async def test_what_is_not_there_cannot_be_removed(connection):
    with pytest.raises(NotFound):
        await object_store.remove(connection, "none", actor="x", now=NOW)
    assert await state(connection) == (0, [])
