"""What recipients reported, as a queue: open ones oldest first; each is closed with what staff made of it.

A report is a click with the event *reported*. The table `reports` holds what was made of it; one without a row is open.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redirector import click_search
from redirector.clicks import Event
from toc import audit
from toc.console.answer import go, page
from toc.console.desk import Desk, account_of, actor_of
from toc.errors import Invalid, NotFound
from toc.store.schema import clicks, reports
from toc.store.writing import insert

PAGE = 50
OUTCOMES = ("harmful", "harmless", "unclear")


def routes(desk: Desk) -> list[Route]:
    async def queue(request: Request) -> Response:
        await desk.settle()
        closed = request.query_params.get("state") == "closed"
        async with desk.engine.connect() as connection:
            waiting = await open_count(connection)
            found = await (_closed(connection) if closed else _open(connection))
        return page(
            desk, request, "reports.html", reports=found, waiting=waiting, closed=closed, outcomes=OUTCOMES,
            done=request.query_params.get("done", ""),
        )  # fmt: skip

    async def work(request: Request) -> Response:
        fields = request.state.form
        outcome = fields.get("outcome", "")
        if outcome not in OUTCOMES:
            raise Invalid(f"choose one of {', '.join(OUTCOMES)}")
        click_id, now = request.path_params["id"], desk.clock()
        async with desk.engine.begin() as connection:
            await _close(connection, click_id, outcome, fields.get("note", "")[:2000], account_of(request).name, now)
            await audit.note(connection, now, actor_of(request), "report_closed", click_id, outcome)
        return go("/reports", done="closed")

    return [Route("/reports", queue, methods=["GET"]), Route("/reports/{id}", work, methods=["POST"])]


# The literal stands in the condition, not as a parameter: only so does the partial index serve it.
_REPORTED = clicks.c.event == literal_column(str(int(Event.REPORTED)))


async def open_count(connection: AsyncConnection) -> int:
    query = select(func.count()).select_from(clicks.outerjoin(reports, reports.c.click == clicks.c.id))
    return int((await connection.execute(query.where(_REPORTED, reports.c.click.is_(None)))).scalar_one())


async def _open(connection: AsyncConnection) -> list[dict[str, Any]]:
    query = select(clicks).outerjoin(reports, reports.c.click == clicks.c.id)
    query = query.where(_REPORTED, reports.c.click.is_(None)).order_by(clicks.c.seq).limit(PAGE)
    rows = (await connection.execute(query)).mappings().all()
    return await click_search.documents(connection, rows)


async def _closed(connection: AsyncConnection) -> list[dict[str, Any]]:
    """The newest, each with what was made of it."""
    query = select(reports).where(reports.c.done.is_not(None)).order_by(reports.c.done.desc()).limit(PAGE)
    made = {row["click"]: row for row in (await connection.execute(query)).mappings()}
    rows = (await connection.execute(select(clicks).where(clicks.c.id.in_(made)))).mappings().all()
    known = {click["id"]: click for click in await click_search.documents(connection, rows)}
    # A report outlives its click: what was made of it stays.
    lost = {name: {"id": name, "url": row["url"], "time": row["time"]} for name, row in made.items()}
    return [{**known.get(name, lost[name]), "made": row} for name, row in made.items()]


async def _close(connection: AsyncConnection, click_id: str, outcome: str, note: str, user: str, now: datetime) -> None:
    """Raises NotFound where no recipient reported this."""
    row = (await connection.execute(select(clicks).where(clicks.c.id == click_id, _REPORTED))).mappings().first()
    if row is None:
        raise NotFound("there is no such report")
    values = {"done": now, "done_by": user, "outcome": outcome, "note": note}
    statement = insert(connection, reports).values(click=click_id, time=row["time"], url=row["url"], **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["click"], set_=values))
