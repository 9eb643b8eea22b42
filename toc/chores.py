"""What goes on beside the calls in the management process: the snapshot for the workers, lists, expiry, retention."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from redirector.retention import apply_retention
from reputation import object_store
from toc import pushing, refreshing, snapshot, stored_file, synchronising
from toc.config import Config
from toc.knowledge import utc_now
from toc.looking_back import LookingBack

log = structlog.get_logger("toc.chores")

SNAPSHOT_SECONDS = 0.25
EXPIRY_SECONDS = 60.0
RETENTION_SECONDS = 3600.0
STORED_SECONDS = 60.0
LOOK_BACK_SECONDS = 5.0


@contextlib.asynccontextmanager
async def running(config: Config, engine: AsyncEngine, new_id: Callable[[], str]) -> AsyncIterator[None]:
    """Take the first snapshot, then keep all chores going until the block ends."""
    await _write_snapshot(config, engine)
    await _follow_stored(config, engine)
    chores = [
        _every(SNAPSHOT_SECONDS, _SnapshotKeeper(config, engine).look),
        _every(EXPIRY_SECONDS, lambda: _expire(engine)),
        _every(RETENTION_SECONDS, lambda: _retain(config, engine)),
        _every(STORED_SECONDS, lambda: _follow_stored(config, engine)),
        _every(LOOK_BACK_SECONDS, LookingBack(config, engine, utc_now).look),
        refreshing.refresh_for_ever(config),
        synchronising.synchronise_for_ever(config, engine, new_id),
        *(pusher.run_for_ever() for pusher in pushing.pushers(config, engine)),
        pushing.watch(config, engine).run_for_ever(),
    ]
    tasks = [asyncio.create_task(chore) for chore in chores]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """A database that is away for a while stops no chore."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (SQLAlchemyError, OSError) as error:
            log.warning("chore_failed", error=type(error).__name__)
            await asyncio.sleep(1.0)


class _SnapshotKeeper:
    """Writes a new snapshot when a counter in the database moved."""

    def __init__(self, config: Config, engine: AsyncEngine) -> None:
        self._config = config
        self._engine = engine
        self._seen: dict[str, int] | None = None

    async def look(self) -> None:
        async with self._engine.connect() as connection:
            now = await snapshot.counters(connection)
        if now != self._seen:
            self._seen = await _write_snapshot(self._config, self._engine)


async def _write_snapshot(config: Config, engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        taken = await snapshot.take(connection)
    snapshot.write(config.data_dir, taken)
    return taken.counters


async def _follow_stored(config: Config, engine: AsyncEngine) -> None:
    await stored_file.follow(engine, config.data_dir / stored_file.FILE_NAME)


async def _expire(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await object_store.remove_expired(connection, now=utc_now())


async def _retain(config: Config, engine: AsyncEngine) -> None:
    done = await apply_retention(engine, config.clicks, utc_now())
    log.info("retention", **done)
