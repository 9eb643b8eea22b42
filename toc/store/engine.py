"""Opening the database: engines for SQLite and PostgreSQL, and bringing it to this version's schema.

Knows connections and migrations. Knows no query.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from toc.errors import SchemaTooNew, StoreError

BUSY_MS = 5000
"""How long SQLite waits for another writer; the hot path has its own, shorter limit (`[spool] commit_ms`)."""


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite:")


def async_url(url: str) -> str:
    """The URL with its asynchronous driver. Raises StoreError for a database that we don't know."""
    for plain, driver in (("sqlite:", "sqlite+aiosqlite:"), ("postgresql:", "postgresql+asyncpg:")):
        if url.startswith(plain):
            return driver + url.removeprefix(plain)
    raise StoreError("[service] database must begin with sqlite:/// or postgresql://")


def open_async(url: str) -> AsyncEngine:
    """An engine for queries of the management side."""
    engine = create_async_engine(async_url(url), pool_pre_ping=not is_sqlite(url))
    if is_sqlite(url):
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def open_sync(url: str) -> Engine:
    """An engine for commands and migrations. PostgreSQL is reached through asyncpg there as well."""
    if not is_sqlite(url):
        return open_async(url).sync_engine
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
    connection.create_function("toc_lower", 1, str.lower)


SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # in WAL mode NORMAL would lose the last commits with the power
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-65536",  # 64 MiB
    "PRAGMA wal_autocheckpoint=8192",  # 32 MiB of log: at SQLite's 4 it is written into the database all the time
)


def _alembic(url: str) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", async_url(url).replace("%", "%%"))
    return config


def upgrade(url: str) -> None:
    """Create the database or bring it to this version's schema; every step in a transaction.

    Raises SchemaTooNew for a database of a newer version, StoreError where it cannot be opened.
    """
    config = _alembic(url)
    try:
        current = revision(url)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise SchemaTooNew(
                f"database {_shown(url)} has schema {current}, which this version does not know: it was written by a "
                "newer version. Install that version, or restore a backup from before the upgrade"
            )
        command.upgrade(config, "head")
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreError(f"database {_shown(url)} cannot be opened: {reason_of(error)}") from None


def revision(url: str) -> str | None:
    """The schema revision that the database has, None for an empty one."""
    if is_sqlite(url):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            return None
        engine = open_sync(url)
        try:
            with engine.connect() as connection:
                return MigrationContext.configure(connection).get_current_revision()
        finally:
            engine.dispose()
    return _postgres_revision(url)


def _postgres_revision(url: str) -> str | None:
    import asyncio

    async def ask() -> str | None:
        engine = open_async(url)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def reason_of(error: BaseException) -> str:
    """One line for a person out of a driver's error."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return str(inner).strip().splitlines()[0] if str(inner).strip() else type(inner).__name__


def _shown(url: str) -> str:
    """The URL without its password."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}"
