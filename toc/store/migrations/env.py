"""Alembic's entry: runs the migrations over the asynchronous driver of either database."""

from __future__ import annotations

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, event, pool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from toc.store.schema import metadata


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


def _whole_steps(engine: AsyncEngine) -> None:
    """SQLite changes its schema in transactions, but Python's driver opens none for that: killed, a step would be half done."""

    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver leaves transactions to us
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", begin)


async def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    engine = create_async_engine(url, poolclass=pool.NullPool)
    if engine.dialect.name == "sqlite":
        _whole_steps(engine)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_run())
