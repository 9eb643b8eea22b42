"""API keys: who may call what. Knows keys, their scopes and their table; knows no route.

A key is ``toc_`` and 43 characters of base64url (32 random bytes); stored is only its SHA-256, so that a copy of the
database opens nothing.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toc import audit
from toc.errors import Forbidden, Invalid, NotFound, Unauthenticated
from toc.store.schema import api_keys

PREFIX = "toc_"
CACHE_SECONDS = 1.0
"""A revoked key is refused on every process within this time."""


class Scope(StrEnum):
    REWRITE = "rewrite"
    VERDICT = "verdict"
    READ = "read"
    OBJECTS = "objects"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `name` stands in the audit trail."""

    name: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raises Forbidden where `scope` is not among ours."""
        if scope not in self.scopes:
            raise Forbidden(f"this needs the scope {scope.value!r}; {self.name} has {', '.join(sorted(self.scopes))}")


async def add(
    connection: AsyncConnection, name: str, scopes: Sequence[str], *, random: Callable[[int], bytes], now: datetime
) -> str:
    """A new key; the returned text is shown once and stored nowhere. Raises Invalid for an unknown scope."""
    known = {scope.value for scope in Scope}
    wrong = [scope for scope in scopes if scope not in known]
    if wrong or not scopes:
        raise Invalid(f"unknown scope {', '.join(wrong)!r}; known are {', '.join(sorted(known))}")
    text = PREFIX + urlsafe_b64encode(random(32)).rstrip(b"=").decode()
    await connection.execute(
        api_keys.insert().values(
            id=random(6).hex(), name=name, digest=_digest(text), scopes=" ".join(sorted(scopes)), created=now
        )
    )
    await audit.note(connection, now, "command", "apikey_added", name, " ".join(sorted(scopes)))
    return text


async def listing(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every key without its digest, oldest first."""
    columns = [column for column in api_keys.c if column.name != "digest"]
    rows = await connection.execute(select(*columns).order_by(api_keys.c.created))
    return [dict(row) for row in rows.mappings()]


async def revoke(connection: AsyncConnection, key_id: str, *, now: datetime) -> None:
    """Raises NotFound where no such key is in use."""
    done = await connection.execute(
        update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked.is_(None)).values(revoked=now)
    )
    if done.rowcount == 0:
        raise NotFound(f"no API key {key_id!r} in use; `toc apikeys list` shows them")
    await audit.note(connection, now, "command", "apikey_revoked", key_id)


class KeyRing:
    """Looks up keys, with a short memory so that a busy gateway does not ask the database for each mail."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._known: dict[bytes, tuple[float, Principal]] = {}

    async def principal(self, authorization: str) -> Principal:
        """Whom an Authorization header names. Raises Unauthenticated."""
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer" or not text.startswith(PREFIX):
            raise Unauthenticated("send `Authorization: Bearer toc_…`; `toc apikeys add` makes a key")
        digest = _digest(text.strip())
        known = self._known.get(digest)
        if known and self._clock() - known[0] < CACHE_SECONDS:
            return known[1]
        self._known.pop(digest, None)
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(
                    select(api_keys.c.name, api_keys.c.scopes).where(
                        api_keys.c.digest == digest, api_keys.c.revoked.is_(None)
                    )
                )
            ).first()
        if row is None:
            raise Unauthenticated("this API key is unknown or revoked; `toc apikeys list` shows the keys")
        principal = Principal(f"key:{row.name}", frozenset(map(Scope, row.scopes.split())))
        if len(self._known) > 1000:
            self._known.clear()
        self._known[digest] = (self._clock(), principal)
        return principal


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
