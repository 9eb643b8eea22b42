"""What workers hold in memory of the database: suspicious objects and revocations, in one small file.

The management process writes it whenever a counter in `changes` moved; every other process looks at the file a few
times a second. So a click never waits for the database, and a node without one (``serve --only redirector``) works
the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.store.schema import changes, objects, revocations
from toc.token import NO_REF, Sealed

FILE_NAME = "snapshot.msgpack"


class ObjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table `objects`."""

    id: str
    type: str
    value: str
    action: str
    risk_level: str | None
    note: str
    source: str
    owner: str
    created: datetime
    expires: datetime | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`revocations`: (kind, ref) with kind ``message``, ``recipient`` or ``link``."""

    counters: dict[str, int]
    objects: tuple[ObjectRow, ...] = ()
    revocations: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    """The revocations as a click asks for them."""

    messages: frozenset[bytes] = frozenset()
    recipients: frozenset[bytes] = frozenset()
    links: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bytes]]) -> Revoked:
        found: dict[str, set[bytes]] = {"message": set(), "recipient": set(), "link": set()}
        for kind, ref in rows:
            found.setdefault(kind, set()).add(ref)
        return cls(frozenset(found["message"]), frozenset(found["recipient"]), frozenset(found["link"]))

    def covers(self, sealed: Sealed, token: str) -> bool:
        return (
            (sealed.message_ref != NO_REF and sealed.message_ref in self.messages)
            or (sealed.recipient_ref != NO_REF and sealed.recipient_ref in self.recipients)
            or (bool(self.links) and link_ref(token) in self.links)
        )


def link_ref(token: str) -> bytes:
    """What a single revoked link is known by."""
    return hashlib.sha256(token.encode()).digest()


async def counters(connection: AsyncConnection) -> dict[str, int]:
    rows = await connection.execute(select(changes.c.name, changes.c.counter))
    return {row.name: row.counter for row in rows}


async def take(connection: AsyncConnection) -> Snapshot:
    """Read it from the database, in one transaction."""
    seen = await counters(connection)
    rows = (await connection.execute(select(objects))).mappings()
    revoked = await connection.execute(select(revocations.c.kind, revocations.c.ref))
    return Snapshot(
        counters=seen,
        objects=tuple(ObjectRow(**row) for row in rows),
        revocations=tuple((row.kind, bytes(row.ref)) for row in revoked),
    )


def write(directory: Path, snapshot: Snapshot) -> None:
    """Whole or not at all."""
    path = directory / FILE_NAME
    temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(msgspec.msgpack.encode(snapshot))
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


class SnapshotFile:
    """The file as one process sees it. `refresh` returns the new content, or None where nothing changed."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._stamp: tuple[int, int] | None = None

    def refresh(self) -> Snapshot | None:
        try:
            found = os.stat(self._path)
            stamp = found.st_mtime_ns, found.st_ino
            if stamp == self._stamp:
                return None
            snapshot = msgspec.msgpack.decode(self._path.read_bytes(), type=Snapshot)
        except (OSError, msgspec.DecodeError):
            return None  # none yet: what we hold goes on
        self._stamp = stamp
        return snapshot
