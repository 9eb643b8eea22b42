"""The options that many commands share, and how a command runs its queries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.ext.asyncio import AsyncConnection

from toc.config import Config
from toc.store import engine as store

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="TOC_CONFIG", help="Settings file (default: toc.toml here).")
]

_T = TypeVar("_T")


def now() -> datetime:
    return datetime.now(UTC)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """How many are done, how fast, since when: on the error output where that is a terminal. Yields what counts them."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} {task.description}"),
        TextColumn("{task.fields[rate]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, rate="")

        def done(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield done


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
