"""The options that many commands share, and how a command runs its queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.config import Config
from toc.store import engine as store

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="TOC_CONFIG", help="Settings file (default: toc.toml here).")
]

_T = TypeVar("_T")


def now() -> datetime:
    return datetime.now(UTC)


def in_database(config: Config, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    """Run `work` in one transaction of the database, brought to this version's schema first."""
    store.upgrade(config.database)

    async def run() -> _T:
        engine = store.open_async(config.database)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return asyncio.run(run())
