"""Suspicious objects to and from Apex Central: by schedule in the management process, by hand from the command line."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from reputation import object_store
from reputation.apex_central import SOURCE, ApexCentral, Row, objects_of, plan
from reputation.breaker import SourceError
from reputation.guards import SMALL, Figures, check_figures
from toc.config import ApexCentralSettings, Config
from toc.errors import ConfigError, ListError
from toc.knowledge import utc_now

log = structlog.get_logger("toc.synchronising")

FAILED = Gauge(
    "toc_apex_central_failed",
    "1 where the last synchronisation failed",
    ["server"],  # without a label it would be made at its import, before the folder of all processes' metrics is known
    multiprocess_mode="mostrecent",
)
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of objects; `refused`: a line for each of theirs that is none of ours."""

    changes: object_store.Changes
    put: int
    taken_away: int
    refused: tuple[str, ...]


async def synchronise(config: Config, engine: AsyncEngine, new_id: Callable[[], str]) -> Report:
    """Bring their objects here, and ours there where the settings say so.

    Raises SourceError where they do not answer, ListError where what they answer would empty or flood what is here.
    """
    settings = config.reputation.apex_central
    async with httpx.AsyncClient(
        timeout=TIMEOUT_SECONDS, proxy=settings.proxy or None, trust_env=False, verify=_trust(config, settings)
    ) as client:
        server = ApexCentral(settings.url, settings.application_id, settings.api_key, client=client, clock=time.time)
        theirs = await server.everything()
        changes, refused = await _take(engine, theirs, new_id)
        put, taken_away = await _give(engine, server, theirs) if settings.push else (0, 0)
    return Report(changes, put, taken_away, tuple(refused))


def _trust(config: Config, settings: ApexCentralSettings) -> ssl.SSLContext:
    """Certificates are always checked; a console with its own authority is named by `ca_file`. Raises ConfigError."""
    try:
        return ssl.create_default_context(cafile=config.path(settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[reputation.apex_central] ca_file: {error}") from None


async def _take(
    engine: AsyncEngine, theirs: list[Row], new_id: Callable[[], str]
) -> tuple[object_store.Changes, list[str]]:
    now = utc_now()
    found, refused = objects_of(theirs, new_id=new_id, created=now)
    async with engine.begin() as connection:
        here = await object_store.count(connection, SOURCE)
        if here >= SMALL:  # fewer may well have been taken away by hand
            check_figures(Figures(len(found), len(refused), 0, here))
        changes = await object_store.synchronise(connection, found, source=SOURCE, now=now)
    return changes, refused


async def _give(engine: AsyncEngine, server: ApexCentral, theirs: list[Row]) -> tuple[int, int]:
    async with engine.connect() as connection:
        ours = await object_store.everything(connection)
    added, removed = plan(ours, theirs, utc_now())
    for row in added:
        await server.add(row)
    for row in removed:
        await server.remove(row)
    return len(added), len(removed)


async def synchronise_for_ever(config: Config, engine: AsyncEngine, new_id: Callable[[], str]) -> None:
    """Every `refresh_minutes`; what goes wrong is logged, and tried again the next time."""
    settings = config.reputation.apex_central
    if not settings.url:
        return
    failed = FAILED.labels(settings.url)
    failed.set(0)
    while True:
        try:
            report = await synchronise(config, engine, new_id)
        except (SourceError, ListError, ConfigError, SQLAlchemyError, OSError) as error:
            failed.set(1)
            log.error("apex_central_failed", error=str(error))
        else:
            failed.set(0)
            changes = report.changes
            log.info("apex_central", added=changes.added, removed=changes.removed, refused=len(report.refused))
        await asyncio.sleep(settings.refresh_minutes * 60)
