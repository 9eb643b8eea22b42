"""Sessions of signed-in staff, kept on the server. Knows their table; knows no cookie, no page.

The browser holds 32 random bytes, the database their SHA-256: a copy of the database signs nobody in. A session ends when
it was idle for too long, and in any case some hours after it began.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toc import audit
from toc.accounts import Account, account_of
from toc.store.schema import sessions, users

USED_STEP = timedelta(seconds=30)
"""`used` is written at most this often, so that a page of many parts is not as many writes."""


@dataclass(frozen=True, slots=True)
class Ends:
    """idle: since the last request; absolute: since signing in."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Session:
    """`csrf` must come back with every request that changes something."""

    account: Account
    csrf: str
    token: str


def new_token(random: Callable[[int], bytes]) -> str:
    return urlsafe_b64encode(random(32)).rstrip(b"=").decode()


async def begin(
    connection: AsyncConnection, account: Account, *, random: Callable[[int], bytes], now: datetime, ends: Ends
) -> Session:
    """A new session with a token of its own: whatever the browser held before is worth nothing. Clears out old ones."""
    stale = or_(sessions.c.used < now - ends.idle, sessions.c.created < now - ends.absolute)
    await connection.execute(delete(sessions).where(stale))
    session = Session(account, new_token(random), new_token(random))
    await connection.execute(
        sessions.insert().values(
            digest=_digest(session.token), user=account.name, csrf=session.csrf, created=now, used=now
        )
    )
    await audit.note(connection, now, f"user:{account.name}", "signed_in", account.name)
    return session


async def find(engine: AsyncEngine, token: str, *, now: datetime, ends: Ends) -> Session | None:
    """The session with this token while it lasts, with the account as it is at this moment."""
    query = select(sessions.c.csrf, sessions.c.used, users).join(users, users.c.name == sessions.c.user)
    query = query.where(
        sessions.c.digest == _digest(token),
        sessions.c.used >= now - ends.idle,
        sessions.c.created >= now - ends.absolute,
        users.c.disabled.is_(None),
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    if now - row["used"] > USED_STEP:
        async with engine.begin() as connection:
            await connection.execute(update(sessions).where(sessions.c.digest == _digest(token)).values(used=now))
    return Session(account_of(row), row["csrf"], token)


async def end(connection: AsyncConnection, session: Session, *, now: datetime) -> None:
    await connection.execute(delete(sessions).where(sessions.c.digest == _digest(session.token)))
    await audit.note(connection, now, f"user:{session.account.name}", "signed_out", session.account.name)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
