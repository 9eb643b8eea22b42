"""Suspicious objects and approved entries in the database: their queries, each change with its line in the audit trail.

What an object means and when it matches stands in `reputation.objects`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reputation.objects import Object
from toc import audit
from toc.errors import NotFound, RequestError
from toc.store.schema import objects
from toc.store.writing import insert, touch

COUNTER = "objects"
_AT_ONCE = 500  # values of one IN: SQLite takes 32,766, PostgreSQL 32,767


def _values(found: Object) -> dict[str, object]:
    return {column.name: getattr(found, column.name) for column in objects.c}


async def add(connection: AsyncConnection, found: Object, *, actor: str, now: datetime) -> Object:
    """Add an object, or replace the one with the same type, value and action. Returns what is stored."""
    statement = insert(connection, objects).values(**_values(found))
    replaced = {name: statement.excluded[name] for name in ("risk_level", "note", "source", "owner", "expires")}
    statement = statement.on_conflict_do_update(index_elements=["type", "value", "action"], set_=replaced)
    row = (await connection.execute(statement.returning(*objects.c))).mappings().one()
    await audit.note(connection, now, actor, "object_added", f"{found.type} {found.value}", found.action)
    await touch(connection, COUNTER)
    return Object(**row)


async def add_many(connection: AsyncConnection, found: Iterable[Object], *, actor: str, now: datetime) -> int:
    """Add the objects of an import; those that stand here already stay as they are. Returns how many are new."""
    added: Counter[str] = Counter()
    rows = [_values(item) for item in found]
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        await connection.execute(insert(connection, objects).on_conflict_do_nothing(), part)
        new = select(objects.c.action).where(objects.c.id.in_([row["id"] for row in part]))
        added.update((await connection.execute(new)).scalars())
    detail = ", ".join(f"{count} {action}" for action, count in sorted(added.items()))
    await audit.note(connection, now, actor, "objects_imported", f"{added.total()} objects", detail)
    await touch(connection, COUNTER)
    return added.total()


@dataclass(frozen=True, slots=True)
class Changes:
    """How many objects a synchronisation changed here."""

    added: int
    changed: int
    removed: int


async def count(connection: AsyncConnection, source: str) -> int:
    """How many objects came from `source`."""
    query = select(func.count()).select_from(objects).where(objects.c.source == source)
    return int(await connection.scalar(query) or 0)


async def synchronise(connection: AsyncConnection, found: Iterable[Object], *, source: str, now: datetime) -> Changes:
    """Make the objects of `source` those of `found`. What others added here stays, also where it is the same object."""
    wanted = {(item.type, item.value, item.action): item for item in found}
    rows = (await connection.execute(select(objects).where(objects.c.source == source))).mappings()
    here = {(row["type"], row["value"], row["action"]): Object(**row) for row in rows}
    gone = [here[key].id for key in here.keys() - wanted.keys()]
    for start in range(0, len(gone), _AT_ONCE):
        await connection.execute(delete(objects).where(objects.c.id.in_(gone[start : start + _AT_ONCE])))
    added = changed = 0
    for key, item in wanted.items():
        old = here.get(key)
        if old is None:
            statement = insert(connection, objects).values(**_values(item)).on_conflict_do_nothing()
            added += (await connection.execute(statement)).rowcount
        elif (old.note, old.expires) != (item.note, item.expires):
            new = {"note": item.note, "expires": item.expires}
            await connection.execute(objects.update().where(objects.c.id == old.id).values(**new))
            changed += 1
    if added or changed or gone:
        detail = f"{added} added, {changed} changed, {len(gone)} removed"
        await audit.note(connection, now, "service", "objects_synchronised", source, detail)
        await touch(connection, COUNTER)
    return Changes(added, changed, len(gone))


async def remove(connection: AsyncConnection, object_id: str, *, actor: str, now: datetime) -> Object:
    """Raises NotFound."""
    row = (await connection.execute(select(objects).where(objects.c.id == object_id))).mappings().first()
    if row is None:
        raise NotFound(f"no object {object_id!r}")
    await connection.execute(delete(objects).where(objects.c.id == object_id))
    await audit.note(connection, now, actor, "object_removed", f"{row['type']} {row['value']}", row["action"])
    await touch(connection, COUNTER)
    return Object(**row)


async def remove_expired(connection: AsyncConnection, *, now: datetime) -> int:
    """Take out what has expired (it stopped matching at its expiry); one line in the audit trail for all."""
    done = await connection.execute(delete(objects).where(objects.c.expires <= now))
    if done.rowcount:
        await audit.note(connection, now, "service", "objects_expired", f"{done.rowcount} objects")
        await touch(connection, COUNTER)
    return int(done.rowcount)


async def page(
    connection: AsyncConnection,
    *,
    limit: int,
    cursor: str = "",
    text: str = "",
    kind: str = "",
    action: str = "",
) -> tuple[list[Object], str | None]:
    """Objects by id, and the cursor of the next page. `text`: a part of value, note or owner. Raises RequestError."""
    query = select(objects).order_by(objects.c.id).limit(limit + 1)
    if cursor:
        query = query.where(objects.c.id > _from_cursor(cursor))
    if text:
        columns = (objects.c.value, objects.c.note, objects.c.owner)
        query = query.where(or_(*(column.contains(text, autoescape=True) for column in columns)))
    if kind:
        query = query.where(objects.c.type == kind)
    if action:
        query = query.where(objects.c.action == action)
    found = [Object(**row) for row in (await connection.execute(query)).mappings()]
    if len(found) <= limit:
        return found, None
    return found[:limit], urlsafe_b64encode(found[limit - 1].id.encode()).decode()


async def everything(connection: AsyncConnection) -> list[Object]:
    """For an export, oldest first."""
    rows = await connection.execute(select(objects).order_by(objects.c.created, objects.c.id))
    return [Object(**row) for row in rows.mappings()]


def _from_cursor(text: str) -> str:
    try:
        return urlsafe_b64decode(text).decode("ascii")
    except ValueError:
        raise RequestError("this cursor is none of ours") from None
