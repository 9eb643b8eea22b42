"""Filling a database with millions of rows: rows first, indexes behind, as one does with any large load."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import text

from toc.store import engine as store

_INDEXES = (
    "SELECT 'DROP INDEX ' || quote_ident(indexname), indexdef FROM pg_indexes "
    "WHERE schemaname = 'public' AND tablename = ANY(:tables) AND indexdef NOT LIKE 'CREATE UNIQUE%'"
)


@contextlib.contextmanager
def without_indexes(url: str, *tables: str) -> Iterator[None]:
    """Inside, rows go into the tables alone; behind, all indexes that the migrations made are there again, and whole."""
    if store.is_sqlite(url):
        with _sqlite(url.removeprefix("sqlite:///"), tables):
            yield
        return
    dropped = asyncio.run(_drop(url, tables))
    yield
    asyncio.run(_run(url, [definition for _, definition in dropped] + ["ANALYZE"]))  # as autovacuum does before long


@contextlib.contextmanager
def _sqlite(path: str, tables: tuple[str, ...]) -> Iterator[None]:
    touched = [*tables, "urls"] if "clicks" in tables else [*tables]
    places = ", ".join("?" * len(touched))
    found = f"SELECT type, name, sql FROM sqlite_master WHERE tbl_name IN ({places}) AND type != 'table' AND sql != ''"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        parts = base.execute(found, touched).fetchall()
        for kind, name, _ in parts:
            base.execute(f"DROP {kind} {name}")
    yield
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("PRAGMA cache_size=-1000000")
        if "clicks" in tables:
            base.execute(
                "INSERT INTO urls (url) SELECT DISTINCT url FROM clicks WHERE url NOT IN (SELECT url FROM urls)"
            )
            base.execute("INSERT INTO urls_text (urls_text) VALUES ('rebuild')")
        for _, _, definition in parts:
            base.execute(definition)
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _drop(url: str, tables: tuple[str, ...]) -> list[tuple[str, str]]:
    engine = store.open_async(url)
    async with engine.begin() as connection:
        rows = (await connection.execute(text(_INDEXES), {"tables": list(tables)})).all()
        for drop, _ in rows:
            await connection.exec_driver_sql(drop)
    await engine.dispose()
    return [(row[0], row[1]) for row in rows]


async def _run(url: str, statements: list[str]) -> None:
    engine = store.open_async(url)
    for statement in statements:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement)
    await engine.dispose()
