"""Guessing passwords is made slow, without a way to lock staff out. Knows the table `sign_ins`.

Three counters, each with its own back-off; one row counts the failures of

    name, network    this account from this network (/24 or /56): the guesser himself
    name, (any)      this account from everywhere: a guesser with many networks
    (any), network   any names from this network: a guesser who sprays one password over many names

A pair from which the account has signed in before obeys its own counter alone. So strangers can make an account's sign-in
from *new* places slow for a while, but never from where its owner usually sits. A refused try counts nothing, and every
wait has an end. A try is counted before the password is looked at, so that many at once gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toc import audit
from toc.accounts import Account, Directory
from toc.errors import RateLimited, Unauthenticated
from toc.store.schema import sign_ins
from toc.store.writing import insert

FORGET = timedelta(hours=24)
"""Failures older than this no longer count."""

KNOWN = timedelta(days=90)
"""How long a place from which an account signed in stays one of its own."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """`free` failures cost nothing; each further one doubles the wait, from `first` up to `longest`."""

    free: int
    first: timedelta
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        over = failures - self.free
        return timedelta() if over < 0 else min(self.first * 2 ** min(over, 20), self.longest)


PAIR = BackOff(5, timedelta(seconds=30), timedelta(minutes=15))
ACCOUNT = BackOff(20, timedelta(seconds=30), timedelta(minutes=15))
NETWORK = BackOff(30, timedelta(seconds=10), timedelta(minutes=5))


async def sign_in(
    engine: AsyncEngine, directory: Directory, name: str, password: str, *, network: str, now: datetime
) -> Account:
    """Who this is. Raises Unauthenticated, or RateLimited while one of the waits lasts."""
    async with engine.begin() as connection:
        await _count(connection, name, network, now)
    account = await directory.account(name, password)
    async with engine.begin() as connection:
        if account is None:
            await audit.note(connection, now, f"network:{network}", "sign_in_failed", name)
        else:
            await _forgive(connection, name, network, now)
    if account is None:
        raise Unauthenticated("name and password do not belong together")
    return account


async def _count(connection: AsyncConnection, name: str, network: str, now: datetime) -> None:
    pairs = [(name, network, PAIR)]
    await connection.execute(delete(sign_ins).where(sign_ins.c.last < now - FORGET, sign_ins.c.known.is_(None)))
    if not await _is_known(connection, name, network, now):
        pairs += [(name, "", ACCOUNT), ("", network, NETWORK)]
    failures = []
    for who, where, _ in pairs:
        row = (await connection.execute(_row(who, where))).first()
        fresh = row is not None and row.last >= now - FORGET
        if row is not None and fresh and row.until is not None and row.until > now:
            seconds = int((row.until - now).total_seconds()) + 1
            raise RateLimited(f"too many failed sign-ins; try again in {seconds} seconds", seconds=seconds)
        failures.append(row.failures + 1 if row is not None and fresh else 1)
    for (who, where, back_off), count in zip(pairs, failures, strict=True):
        values = {"failures": count, "last": now, "until": now + back_off.wait(count)}
        statement = insert(connection, sign_ins).values(name=who, network=where, **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=["name", "network"], set_=values))


async def _is_known(connection: AsyncConnection, name: str, network: str, now: datetime) -> bool:
    row = (await connection.execute(_row(name, network))).first()
    return row is not None and row.known is not None and row.known >= now - KNOWN


async def _forgive(connection: AsyncConnection, name: str, network: str, now: datetime) -> None:
    """A success wipes the pair's failures and takes back its own try from the other two."""
    values = {"failures": 0, "last": now, "until": None, "known": now}
    statement = insert(connection, sign_ins).values(name=name, network=network, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["name", "network"], set_=values))
    for who, where in ((name, ""), ("", network)):
        await connection.execute(
            sign_ins.update()
            .where(sign_ins.c.name == who, sign_ins.c.network == where, sign_ins.c.failures > 0)
            .values(failures=sign_ins.c.failures - 1, until=None)
        )


def _row(name: str, network: str) -> Select[Any]:
    return select(sign_ins).where(sign_ins.c.name == name, sign_ins.c.network == network)
