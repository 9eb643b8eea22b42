"""Pushing clicks to the systems of `[[push]]`: in the order of the record, none skipped, each target at its own pace.

How far a target has certainly come stands in the table `shipments`; a restart goes on from there. What a target has not
taken is offered again, with growing pauses, for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from redirector.click_search import documents
from redirector.delivery import DeliveryError, Item, Road
from redirector.syslog import SEVERITY
from toc.store.engine import reason_of
from toc.store.schema import clicks, shipments
from toc.store.writing import insert

log = structlog.get_logger("redirector.push")

WAITING = Gauge(
    "toc_push_waiting", "Clicks that a target has not taken yet", ["target"], multiprocess_mode="mostrecent"
)

PART = 500
"""Clicks of one delivery: about 300 kB."""

LOOK_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """name: its row in `shipments`; line: one click as the target wants it; backlog: also clicks from before it was set up"""

    name: str
    road: Road
    line: Callable[[dict[str, Any]], str]
    backlog: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """seq: all up to this click has arrived; failures: in a row, and the last one's words"""

    seq: int
    failures: int = 0
    error: str = ""


def pause(failures: int, chance: float) -> float:
    """Seconds before the next attempt after so many failures in a row: doubling, within ± 50 %. chance: 0 to 1"""
    return float(min(FIRST_PAUSE * 2 ** min(failures - 1, 20), LONGEST_PAUSE) * (0.5 + chance))


class Pusher:
    """One target. `sleep` and `chance` are handed in."""

    def __init__(
        self, target: Target, engine: AsyncEngine, chance: Callable[[], float] = random.random, part: int = PART
    ) -> None:
        self._target = target
        self._engine = engine
        self._chance = chance
        self._part = part
        self._position: Position | None = None
        self._ahead = 0

    async def run_for_ever(self) -> None:
        try:
            while True:  # noqa: ASYNC110 - other processes write the clicks
                await asyncio.sleep(await self.step())
        finally:
            await self._target.road.close()

    async def step(self) -> float:
        """Offer one part. Returns how many seconds to wait before the next step."""
        try:
            return await self._step()
        except DeliveryError as error:
            return max(await self._failed(str(error)), error.after)
        except (SQLAlchemyError, OSError) as error:
            log.warning("push_waits", target=self._target.name, error=reason_of(error))
            self._position = None
            return FIRST_PAUSE

    async def _step(self) -> float:
        async with self._engine.begin() as connection:
            if self._position is None:
                self._position = await _begin(connection, self._target)
                self._ahead = self._position.seq
            items = await self._next(connection)
        certain = await self._target.road.deliver(items)
        if items:
            self._ahead = items[-1].number
        if certain > self._position.seq or self._position.failures:
            await self._store(Position(max(certain, self._position.seq)))
        WAITING.labels(self._target.name).set(0 if len(items) < self._part else await self._waiting())
        return 0.0 if len(items) == self._part else LOOK_SECONDS

    async def _next(self, connection: AsyncConnection) -> list[Item]:
        query = select(clicks).where(clicks.c.seq > self._ahead).order_by(clicks.c.seq).limit(self._part)
        rows = (await connection.execute(query)).mappings().all()
        return items_of([row["seq"] for row in rows], await documents(connection, rows), self._target.line)

    async def _failed(self, error: str) -> float:
        assert self._position is not None
        position = replace(self._position, failures=self._position.failures + 1, error=error[:500])
        self._ahead = position.seq
        log.warning("push_failed", target=self._target.name, error=error, failures=position.failures)
        try:
            await self._store(position)
        except (SQLAlchemyError, OSError):
            self._position = None  # read it anew
        return pause(position.failures, self._chance())

    async def _store(self, position: Position) -> None:
        """Another process that pushes to the same target has the say over its row: then we begin from its position."""
        assert self._position is not None
        row = (shipments.c.target == self._target.name) & (shipments.c.seq == self._position.seq)
        values = {"seq": position.seq, "failures": position.failures, "error": position.error}
        async with self._engine.begin() as connection:
            done = await connection.execute(update(shipments).where(row).values(**values))
        self._position = position if done.rowcount else None

    async def _waiting(self) -> int:
        async with self._engine.connect() as connection:
            return (await connection.scalar(select(func.max(clicks.c.seq))) or 0) - self._ahead


def items_of(seqs: Sequence[int], found: Sequence[dict[str, Any]], line: Callable[[dict[str, Any]], str]) -> list[Item]:
    return [
        Item(seq, line(click), click["time"], SEVERITY[click["level"]]) for seq, click in zip(seqs, found, strict=True)
    ]


async def positions(connection: AsyncConnection) -> dict[str, Position]:
    """Where each target stands that was ever pushed to."""
    rows = (await connection.execute(select(shipments))).mappings()
    return {row["target"]: Position(row["seq"], row["failures"], row["error"]) for row in rows}


async def _begin(connection: AsyncConnection, target: Target) -> Position:
    """Where the target stands; a new one begins with the next click, or with the first."""
    query = select(shipments).where(shipments.c.target == target.name)
    row = (await connection.execute(query)).mappings().first()
    if row is not None:
        return Position(row["seq"], row["failures"], row["error"])
    newest = 0 if target.backlog else await connection.scalar(select(func.max(clicks.c.seq))) or 0
    values = {"target": target.name, "seq": newest, "failures": 0, "error": ""}
    await connection.execute(insert(connection, shipments).values(**values).on_conflict_do_nothing())
    return Position(newest)
