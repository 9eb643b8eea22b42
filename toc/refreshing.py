"""Fetching the lists of this installation: by schedule in the management process, by hand from the command line."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

import httpx
import structlog
from prometheus_client import Gauge

from reputation.api import ListAnswer, RefreshAnswer
from reputation.feeds import Feed, RefreshReport, due, refresh
from reputation.generations import open_current, read_state
from toc.config import Config
from toc.errors import ListError, NotFound
from toc.knowledge import feeds_of, utc_now

log = structlog.get_logger("toc.lists")

ENTRIES = Gauge("toc_list_entries", "Entries of a list in use", ["list"], multiprocess_mode="mostrecent")
REFUSED = Gauge("toc_list_refused", "1 where the last refresh was refused", ["list"], multiprocess_mode="mostrecent")

LOOK_SECONDS = 5.0
STALE_INTERVALS = 5
"""A list that could not be refreshed for so many of its intervals is stale: it goes on, with an alarm."""


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(follow_redirects=False, headers={"User-Agent": "time-of-click"})


async def refresh_one(
    feed: Feed, config: Config, client: httpx.AsyncClient, progress: Callable[[int], None] | None = None
) -> RefreshReport:
    """Fetch one list now; what went wrong is logged and stands in its state."""
    directory = config.data_dir / "lists"
    report = await refresh(feed, directory, utc_now(), client, rng=random.Random(), progress=progress)  # noqa: S311
    REFUSED.labels(feed.name).set(report.outcome == "refused")
    if report.outcome == "refused":
        log.error("list_rejected", list=feed.name, why=report.why, error=report.error)
    elif report.outcome == "new":
        ENTRIES.labels(feed.name).set(report.entries)
        log.info("list_loaded", list=feed.name, generation=report.generation, entries=report.entries)
    return report


async def refresh_by_name(config: Config, name: str) -> RefreshAnswer:
    """Raises NotFound."""
    for feed in feeds_of(config):
        if feed.name == name:
            async with new_client() as client:
                report = await refresh_one(feed, config, client)
            return RefreshAnswer(
                name=name,
                outcome=report.outcome,
                generation=report.generation,
                entries=report.entries,
                error=report.error or None,
            )
    raise NotFound(f"no list {name!r} in the settings")


async def refresh_for_ever(config: Config) -> None:
    """Fetch each list when it is due; one slow source holds up no other."""
    feeds = feeds_of(config)
    busy: dict[str, asyncio.Task[RefreshReport]] = {}
    async with new_client() as client:
        while True:
            now = utc_now()
            for feed in feeds:
                task = busy.get(feed.name)
                if task is not None and not task.done():
                    continue
                if due(feed, read_state(config.data_dir / "lists" / feed.name), now):
                    busy[feed.name] = asyncio.create_task(refresh_one(feed, config, client))
            await asyncio.sleep(LOOK_SECONDS)


def list_states(config: Config) -> tuple[ListAnswer, ...]:
    """Generation, entries, age and last error of every list."""
    now = utc_now()
    return tuple(_state_of(feed, config, now) for feed in feeds_of(config))


def _state_of(feed: Feed, config: Config, now: datetime) -> ListAnswer:
    folder = config.data_dir / "lists" / feed.name
    state = read_state(folder)
    try:
        index = open_current(folder)
    except ListError:
        index = None
    age = None if state.success_at is None else int((now - state.success_at).total_seconds())
    return ListAnswer(
        name=feed.name,
        generation=index.generation if index else None,
        entries=index.entries if index else 0,
        loaded=state.success_at,
        age_seconds=age,
        stale=age is not None and age > feed.refresh_seconds * STALE_INTERVALS,
        required=feed.required,
        last_error=state.error or None,
    )
