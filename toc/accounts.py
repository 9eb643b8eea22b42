"""Local accounts of staff: names, roles, passwords. Knows their table; knows no session, no page.

Passwords are kept as argon2id hashes with the parameters of RFC 9106 section 4 (second recommended option, argon2-cffi's
default). There is no default account and no default password.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toc import audit
from toc.access import Scope
from toc.errors import Conflict, Invalid, NotFound, Overloaded
from toc.store.schema import sessions, sign_ins, users
from toc.store.writing import insert

MIN_PASSWORD = 12
"""Characters. NIST SP 800-63B rev. 4 asks for at least 8 beside a second factor and 15 without; length, never composition."""

MAX_PASSWORD = 256
HASHES_AT_ONCE = 2
HASHES_WAITING = 20
"""Each takes 64 MiB and a core for some 50 ms: strangers must not be able to fill the machine with sign-ins."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,126}[a-z0-9]|[a-z0-9]")
_hasher = PasswordHasher()


class Role(StrEnum):
    """From few rights to many; each may do all that the one before may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def covers(self, other: Role) -> bool:
        return self.rank >= other.rank


SCOPES: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.READ, Scope.VERDICT}),
    Role.ANALYST: frozenset({Scope.READ, Scope.VERDICT, Scope.OBJECTS}),
    Role.ADMIN: frozenset({Scope.READ, Scope.VERDICT, Scope.OBJECTS, Scope.ADMIN}),
}
"""What a session may call of the management calls. Rewriting is for gateways, which have keys."""


@dataclass(frozen=True, slots=True)
class Account:
    """timezone: IANA name, empty for the browser's; language: empty for the browser's."""

    name: str
    role: Role
    timezone: str = ""
    language: str = ""


class Directory(Protocol):
    """The one place where a credential becomes an account. LDAP and OIDC are to be further ones."""

    async def account(self, name: str, password: str) -> Account | None:
        """None where name and password do not belong together, or the account is disabled. Takes equally long for both."""
        ...


class LocalDirectory:
    """The accounts of our own table."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._busy = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0

    async def account(self, name: str, password: str) -> Account | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(users).where(users.c.name == name))).mappings().first()
        known = row is not None and row["disabled"] is None
        digest = row["password"] if row is not None and known else _nobodys_hash()
        fits = await self._checked(digest, password)
        if row is None or not known or not fits:
            return None
        if _hasher.check_needs_rehash(digest):
            await self._rehash(name, password)
        return account_of(row)

    async def _checked(self, digest: str, password: str) -> bool:
        """Raises Overloaded."""
        if self._waiting >= HASHES_WAITING:
            raise Overloaded("too many sign-ins at once; try again in a few seconds")
        self._waiting += 1
        try:
            async with self._busy:
                return await asyncio.to_thread(_fits, digest, password)
        finally:
            self._waiting -= 1

    async def _rehash(self, name: str, password: str) -> None:
        async with self._busy:
            digest = await asyncio.to_thread(_hash, password)
        async with self._engine.begin() as connection:
            await connection.execute(update(users).where(users.c.name == name).values(password=digest))


def account_of(row: Any) -> Account:
    return Account(row["name"], Role(row["role"]), row["timezone"], row["language"])


@cache
def _nobodys_hash() -> str:
    """What the password of an unknown name is held against, so that the time tells nothing."""
    return _hash("nobody has this password")


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)


def _hash(password: str) -> str:
    return _hasher.hash(_normal(password))


def _fits(digest: str, password: str) -> bool:
    try:
        return _hasher.verify(digest, _normal(password)[: MAX_PASSWORD + 1])
    except (Argon2Error, InvalidHashError):
        return False


def checked_password(password: str, name: str) -> str:
    """Raises Invalid for one that is too short, too long, or little more than the name."""
    normal = _normal(password)
    if len(normal) < MIN_PASSWORD:
        raise Invalid(f"the password has {len(normal)} characters; it needs at least {MIN_PASSWORD}")
    if len(normal) > MAX_PASSWORD:
        raise Invalid(f"the password has {len(normal)} characters; the limit is {MAX_PASSWORD}")
    if len(set(normal)) < 5 or name in normal.lower():
        raise Invalid("the password repeats itself or holds the account's name")
    return normal


def checked_name(name: str) -> str:
    """Raises Invalid."""
    normal = name.strip().lower()
    if not _NAME.fullmatch(normal):
        raise Invalid(f"{name[:60]!r} is no name for an account: letters a-z, digits, and . _ @ + - inside")
    return normal


def checked_role(role: str) -> Role:
    """Raises Invalid."""
    try:
        return Role(role)
    except ValueError:
        raise Invalid(f"role {role[:40]!r} is none of {', '.join(Role)}") from None


async def add(connection: AsyncConnection, name: str, role: Role, password: str, *, actor: str, now: datetime) -> None:
    """A new account. Raises Invalid, Conflict."""
    name = checked_name(name)
    digest = _hash(checked_password(password, name))
    values = {"name": name, "password": digest, "role": role.value, "created": now, "failures": 0}
    values |= {"timezone": "", "language": ""}
    done = await connection.execute(insert(connection, users).values(**values).on_conflict_do_nothing())
    if done.rowcount == 0:
        raise Conflict(f"there is an account {name!r} already; `toc users passwd` gives it a new password")
    await audit.note(connection, now, actor, "user_added", name, role.value)


async def set_password(connection: AsyncConnection, name: str, password: str, *, actor: str, now: datetime) -> None:
    """A new password. Ends the account's sessions and lifts its lock-outs. Raises Invalid, NotFound."""
    digest = _hash(checked_password(password, name))
    await _change(connection, name, password=digest)
    await connection.execute(delete(sessions).where(sessions.c.user == name))
    await connection.execute(delete(sign_ins).where(sign_ins.c.name == name))
    await audit.note(connection, now, actor, "user_password", name)


async def set_role(connection: AsyncConnection, name: str, role: Role, *, actor: str, now: datetime) -> None:
    """Takes hold at the next request of a session. Raises NotFound, Conflict for the last admin."""
    if role is not Role.ADMIN:
        await _keep_an_admin(connection, name)
    await _change(connection, name, role=role.value)
    await audit.note(connection, now, actor, "user_role", name, role.value)


async def disable(connection: AsyncConnection, name: str, *, actor: str, now: datetime) -> None:
    """Ends the account's sessions. The name stays taken, for the audit trail. Raises NotFound, Conflict for the last admin."""
    await _keep_an_admin(connection, name)
    await _change(connection, name, disabled=now)
    await connection.execute(delete(sessions).where(sessions.c.user == name))
    await audit.note(connection, now, actor, "user_disabled", name)


async def enable(connection: AsyncConnection, name: str, *, actor: str, now: datetime) -> None:
    """Raises NotFound."""
    await _change(connection, name, disabled=None)
    await audit.note(connection, now, actor, "user_enabled", name)


async def set_view(connection: AsyncConnection, name: str, *, timezone: str, language: str) -> None:
    """How pages look for this account; no right depends on it. Raises Invalid, NotFound."""
    if timezone:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Invalid(f"{timezone[:60]!r} is no IANA zone such as Asia/Tokyo") from None
    await _change(connection, name, timezone=timezone, language=language)


async def listing(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every account without its password, by name."""
    columns = [users.c[name] for name in ("name", "role", "created", "disabled", "timezone", "language")]
    rows = await connection.execute(select(*columns).order_by(users.c.name))
    return [dict(row) for row in rows.mappings()]


async def _change(connection: AsyncConnection, name: str, **values: object) -> None:
    done = await connection.execute(update(users).where(users.c.name == name).values(**values))
    if done.rowcount == 0:
        raise NotFound(f"no account {name[:128]!r}; `toc users list` shows them")


async def _keep_an_admin(connection: AsyncConnection, name: str) -> None:
    others = select(func.count()).where(
        users.c.role == Role.ADMIN.value, users.c.disabled.is_(None), users.c.name != name
    )
    ours = select(func.count()).where(users.c.role == Role.ADMIN.value, users.c.name == name)
    if (await connection.execute(ours)).scalar_one() and not (await connection.execute(others)).scalar_one():
        raise Conflict(f"{name} is the last admin; make another one first")
