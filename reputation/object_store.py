"""Suspicious objects and approved entries in the database: their queries, each change with its line in the audit trail.

What an object means and when it matches stands in `reputation.objects`.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reputation.objects import Object
from toc import audit
from toc.errors import NotFound, RequestError
from toc.store.schema import objects
from toc.store.writing import insert, touch

COUNTER = "objects"


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
    for item in found:
        done = await connection.execute(insert(connection, objects).values(**_values(item)).on_conflict_do_nothing())
        added[item.action] += done.rowcount
    detail = ", ".join(f"{count} {action}" for action, count in added.items() if count)
    await audit.note(connection, now, actor, "objects_imported", f"{added.total()} objects", detail)
    await touch(connection, COUNTER)
    return added.total()


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
