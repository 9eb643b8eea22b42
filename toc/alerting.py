"""Watching the record for what staff should know at once, and telling them: by mail, webhook, syslog, and in the log.

    clicks and hits since the last look ─▶ causes ─▶ `toc.alerts` ─▶ every channel, each at its own pace

How far everything was told stands in the table `shipments` (clicks) and in `hits.alerted`: what a crash interrupted is told
again after it, never left out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, false, func, or_, select, true, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from redirector.actor import ActorKind
from redirector.click_search import documents
from redirector.clicks import Event
from redirector.delivery import DeliveryError, Item, Road
from redirector.push import pause
from redirector.syslog import ALERT
from toc.alerts import Alert, Cause, Gatherer, rules_of, title
from toc.config import AlertRule, AlertSettings
from toc.policy import Action
from toc.store.engine import reason_of
from toc.store.schema import clicks, hits, shipments
from toc.store.writing import insert

log = structlog.get_logger("toc.alerting")

LOOK_SECONDS = 1.0

STORE_SECONDS = 60.0
"""How often the position is stored while nothing is told. What was read since is read again after a restart."""
PART = 1000
POSITION = "alerts"
"""The row of `shipments`; no name of `[[push]]` may be this one."""


@dataclass
class Channel:
    """One way to tell, and what waits on it. `render`: an alert as this way wants it."""

    name: str
    road: Road
    render: Callable[[Alert], str]
    failures: int = 0
    next_try: float = float("-inf")
    _items: list[Item] = field(default_factory=list)
    _offered: int = 0

    def add(self, number: int, alert: Alert) -> None:
        time = alert.causes[-1].time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._items.append(Item(number, self.render(alert), time, ALERT, "alert"))

    async def step(self, clock: float, chance: float) -> None:
        """Offer what waits; after a failure not before the pause is over."""
        if clock < self.next_try:
            return
        try:
            certain = await self.road.deliver([item for item in self._items if item.number > self._offered])
        except DeliveryError as error:
            self._offered = 0
            self.failures += 1
            self.next_try = clock + max(pause(self.failures, chance), error.after)
            log.warning("alert_waits", channel=self.name, error=str(error), failures=self.failures)
            return
        self.failures = 0
        self._offered = max([self._offered, *(item.number for item in self._items)])
        self._items = [item for item in self._items if item.number > certain]

    @property
    def first(self) -> int | None:
        """The number of the oldest alert that has not certainly arrived."""
        return self._items[0].number if self._items else None


class Watch:
    """The state of the loop. `now` and `clock` (monotonic seconds) are handed in."""

    def __init__(
        self,
        settings: AlertSettings,
        engine: AsyncEngine,
        channels: Sequence[Channel],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._channels = channels
        self._now = now
        self._clock = clock
        self._gatherer = Gatherer(settings)
        self._wanted = _wanted(rules_of(settings))
        self._longest = max([rule.minutes for rule in settings.rules if rule.clicks > 1], default=0)
        self._read: int | None = None
        self._stored = 0
        self._stored_at = clock()
        self._hits_read = 0
        self._told: dict[int, Alert] = {}
        self._number = 0

    async def run_for_ever(self) -> None:
        try:
            while True:
                await self.step()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for channel in self._channels:
                await channel.road.close()

    async def step(self) -> None:
        """Look once. A database that is away is looked at again the next time."""
        try:
            await self._look()
            for alert in self._gatherer.due(self._now()):
                self._tell(alert)
            for channel in self._channels:
                await channel.step(self._clock(), random.random())  # noqa: S311 - spreads attempts
            await self._store()
        except (SQLAlchemyError, OSError) as error:
            log.warning("alerts_wait", error=reason_of(error))

    async def _look(self) -> None:
        async with self._engine.begin() as connection:
            if self._read is None:
                self._read = self._stored = await _begin(connection)
                await self._recall(connection)
            newest = int(await connection.scalar(select(func.max(clicks.c.seq))) or 0)
            while rows := await _clicks(connection, self._wanted & clicks.c.seq.between(self._read + 1, newest)):
                await self._take_in(connection, rows)
                self._read = rows[-1]["seq"]
            self._read = max(self._read, newest)
            self._hits_read, convictions = await _convictions(connection, self._hits_read)
            for cause in convictions:
                self._gatherer.add(cause)

    async def _recall(self, connection: AsyncConnection) -> None:
        """Rules that count clicks know those of before the restart."""
        if self._longest:
            since = clicks.c.time >= self._now() - timedelta(minutes=self._longest)
            seen = 0
            while rows := await _clicks(
                connection, self._wanted & since & clicks.c.seq.between(seen + 1, self._stored)
            ):
                await self._take_in(connection, rows, silent=True)
                seen = rows[-1]["seq"]

    async def _take_in(self, connection: AsyncConnection, rows: Sequence[Any], *, silent: bool = False) -> None:
        for row, click in zip(rows, await documents(connection, rows), strict=True):
            self._gatherer.add(_cause(row["seq"], "click", row["time"], click), silent=silent)

    def _tell(self, alert: Alert) -> None:
        log.warning("alert", title=title(alert), clicks=[cause.click for cause in alert.causes[:10]])
        self._number += 1
        self._told[self._number] = alert
        for channel in self._channels:
            channel.add(self._number, alert)

    async def _store(self) -> None:
        """What every channel has is done with; the position stays before the oldest click that somebody still waits for."""
        waiting = [channel.first for channel in self._channels if channel.first is not None]
        done = [number for number in self._told if not waiting or number < min(waiting)]
        told = [cause for number in done for cause in self._told.pop(number).causes]
        left = [cause for alert in self._told.values() for cause in alert.causes]
        places = [cause.place for cause in left if cause.on == "click"] + self._gatherer.waiting("click")
        position = min([self._read or 0, *(place - 1 for place in places)])
        convicted = [cause.place for cause in told if cause.on == "conviction"]
        moved = position > self._stored and (told or self._clock() >= self._stored_at + STORE_SECONDS)
        if not moved and not convicted:
            return
        async with self._engine.begin() as connection:
            row = update(shipments).where(shipments.c.target == POSITION)
            await connection.execute(row.values(seq=max(position, self._stored)))
            for start in range(0, len(convicted), PART):
                alerted = update(hits).where(hits.c.id.in_(convicted[start : start + PART]))
                await connection.execute(alerted.values(alerted=self._now()))
        self._stored, self._stored_at = max(position, self._stored), self._clock()


def _cause(place: int, on: str, time: datetime, click: dict[str, Any], **more: str) -> Cause:
    return Cause(
        place=place,
        on=on,
        time=time,
        click=click["id"],
        url=click["url"],
        host=click["host"],
        event=click["event"],
        action=click["action"],
        threats=tuple(dict.fromkeys(match["threat"] for match in click["matches"])),
        people=tuple(click["recipients"]),
        **more,
    )


def _wanted(rules: Sequence[AlertRule]) -> ColumnElement[bool]:
    """Clicks that some rule may fit: of an ordinary day's next to none need be read."""
    return or_(false(), *(_may_fit(rule) for rule in rules if rule.on == "click"))


def _may_fit(rule: AlertRule) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [true()]
    if rule.event:
        found.append(clicks.c.event == int(Event[rule.event.upper()]))
    if rule.action:
        found.append(clicks.c.action == int(Action[rule.action.upper()]))
    if rule.threats:
        found.append(clicks.c.evidence.contains('"matches"'))
    return and_(*found)


async def _clicks(connection: AsyncConnection, condition: Any) -> Sequence[Any]:
    """Clicks of people, in order: programs that look at links alarm nobody."""
    query = select(clicks).where(condition, clicks.c.actor != int(ActorKind.AUTOMATED)).order_by(clicks.c.seq)
    return (await connection.execute(query.limit(PART))).mappings().all()


async def _convictions(connection: AsyncConnection, after: int) -> tuple[int, list[Cause]]:
    """Hits on clicks that nobody was told of, and the last hit that was looked at."""
    query = select(hits).where(hits.c.alerted.is_(None), hits.c.click != "", hits.c.id > after).order_by(hits.c.id)
    found = (await connection.execute(query.limit(PART))).mappings().all()
    rows = (await connection.execute(select(clicks).where(clicks.c.id.in_([hit["click"] for hit in found])))).mappings()
    shown = {click["id"]: click for click in await documents(connection, rows.all())}
    causes = [
        _cause(hit["id"], "conviction", hit["time"], shown[hit["click"]], source=hit["source"], entry=hit["entry"])
        for hit in found
        if hit["click"] in shown
    ]
    return found[-1]["id"] if found else after, causes


async def _begin(connection: AsyncConnection) -> int:
    """All up to this click was told before; at the very first start nothing that is old is told."""
    found = await connection.scalar(select(shipments.c.seq).where(shipments.c.target == POSITION))
    if found is not None:
        return int(found)
    newest = int(await connection.scalar(select(func.max(clicks.c.seq))) or 0)
    values = {"target": POSITION, "seq": newest, "failures": 0, "error": ""}
    await connection.execute(insert(connection, shipments).values(**values).on_conflict_do_nothing())
    return newest
