"""``toc lists`` and ``toc verdict``: what the sources know, and what they say of one URL."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from redirector import click_search
from reputation.api import VerdictAnswer
from toc import snapshot, startup
from toc.commands.options import ConfigOption, in_database
from toc.config import Config
from toc.errors import ListError, NotFound, StoreError
from toc.judged import judged
from toc.knowledge import Knowledge, feeds_of
from toc.live import live_sources
from toc.refreshing import list_states, new_client, refresh_one
from toc.replay import ReplayAnswer, ReplayedMatch, replay
from toc.sightings import StoreReader
from toc.startup import Startup
from toc.store.engine import is_sqlite

commands = typer.Typer(no_args_is_help=True, help="Lists of the settings: their state, and a refresh by hand.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="lists")
    app.command()(verdict)


@commands.command("list")
def show(config: ConfigOption = None) -> None:
    """Show generation, entries, age and last error of each list."""
    table = Table("name", "generation", "entries", "age", "last error", box=None)
    for row in list_states(startup.read(config).config):
        age = "never loaded" if row.age_seconds is None else f"{row.age_seconds // 60} min"
        table.add_row(row.name, row.generation or "", f"{row.entries:,}", age, row.last_error or "")
    Console().print(table)


@commands.command()
def refresh(
    name: Annotated[str | None, typer.Argument(help="One list; without a name, all.")] = None,
    config: ConfigOption = None,
) -> None:
    """Fetch lists now. A list that is refused leaves the last good one in use."""
    loaded = startup.read(config).config
    feeds = [feed for feed in feeds_of(loaded) if name in (None, feed.name)]
    if name is not None and not feeds:
        raise NotFound(f"no list {name!r} in the settings")

    async def run() -> list[str]:
        refused = []
        async with new_client() as client:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                for feed in feeds:
                    task = progress.add_task(feed.name, total=None)
                    report = await refresh_one(feed, loaded, client, lambda n, t=task: progress.update(t, completed=n))  # type: ignore[misc]
                    print(f"{feed.name}: {report.outcome}, {report.entries:,} entries {report.error}".rstrip())
                    if report.outcome == "refused":
                        refused.append(feed.name)
        return refused

    refused = asyncio.run(run())
    if refused:
        raise ListError(f"refused: {', '.join(refused)}; the last good list of each goes on")


def verdict(
    url: Annotated[str, typer.Argument(help="The URL to be judged.")] = "",
    replay_id: Annotated[str, typer.Option("--replay", metavar="ID", help="A click: why it was decided so.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
    config: ConfigOption = None,
) -> None:
    """Judge a URL now, and say why; or say why a click was decided as it was."""
    if bool(url) == bool(replay_id):
        raise typer.BadParameter("give a URL, or the id of a click with --replay")
    loaded = startup.read(config)
    answer = _replayed(replay_id, loaded) if replay_id else asyncio.run(_judged(url, loaded, _stored(loaded.config)))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())
    elif isinstance(answer, ReplayAnswer):
        _show_replay(answer, Console(highlight=False))
    else:
        _show_verdict(answer, ages_of(loaded.config), Console(highlight=False))


def _show_verdict(answer: VerdictAnswer, ages: Mapping[str, str], console: Console) -> None:
    console.print(f"[bold]{answer.level}[/bold] → {answer.decision.action} ({', '.join(answer.decision.reasons)})")
    _show_evidence(answer, ages, console)
    for form in answer.forms:
        console.print(f"  looked up: {form}", markup=False, soft_wrap=True)
    console.print(f"  as of {answer.as_of:%Y-%m-%d %H:%M:%S} UTC, profile {answer.decision.profile}", markup=False)


def _show_replay(answer: ReplayAnswer, console: Console) -> None:
    console.print(f"[bold]{answer.level}[/bold] → {answer.action} ({', '.join(answer.reasons)})")
    console.print(f"  {answer.url}", markup=False)
    _show_evidence(answer, {}, console)
    if answer.familiar:
        console.print("  the host was familiar: signs did not count")
    for name, generation in answer.generations.items():
        console.print(f"  asked: {name} (generation {generation})", markup=False)
    known = "" if answer.policy_kept else ", which was not kept here"
    console.print(f"  at {answer.time:%Y-%m-%d %H:%M:%S} UTC, profile {answer.profile}, policy {answer.policy}{known}")
    for difference in answer.differences:
        console.print(f"  differs: {difference}", markup=False)
    if answer.agrees:
        console.print("  the same follows from this evidence today")


def ages_of(config: Config) -> dict[str, str]:
    """How old the generation in use of each list is, for people."""
    return {row.name: f"{row.age_seconds // 60} min old" for row in list_states(config) if row.age_seconds is not None}


def _show_evidence(answer: VerdictAnswer | ReplayAnswer, ages: Mapping[str, str], console: Console) -> None:
    for match in answer.matches:
        where = f" line {match.line}" if match.line else ""
        checked = {"stands": ", still on disk", "gone": ", no longer on disk"}
        today = checked.get(match.today, "") if isinstance(match, ReplayedMatch) else ""
        age = f", {ages[match.source]}" if match.source in ages else ""
        console.print(f"  {match.kind} {match.source}{where} (generation {match.generation}{age}{today}): ", end="")
        console.print(f"{match.entry} · {match.threat} · {match.level} · by {match.form}", markup=False)
    for sign in answer.signs:
        console.print(f"  sign {sign.code}, {sign.points} points: {sign.detail}", markup=False)
    if answer.silent:
        console.print(f"  silent: {', '.join(answer.silent)}", markup=False)


def _replayed(click_id: str, loaded: Startup) -> ReplayAnswer:
    click = in_database(loaded.config, lambda connection: click_search.get(connection, click_id))
    if click is None:
        raise NotFound(f"no click {click_id!r}; `toc clicks search` shows them")
    return replay(click, loaded.config)


def _stored(config: Config) -> snapshot.Snapshot | None:
    """Objects as the database has them now, also while no service runs; None where only the snapshot file is at hand."""
    found = None
    if not is_sqlite(config.database) or Path(config.database.removeprefix("sqlite:///")).exists():  # never a new one
        with contextlib.suppress(StoreError, SQLAlchemyError, OSError):
            found = in_database(config, snapshot.take)
    return found


async def _judged(url: str, loaded: Startup, stored: snapshot.Snapshot | None) -> VerdictAnswer:
    knowledge = Knowledge(loaded, live=live_sources(loaded.config))
    if stored is not None:
        knowledge.take_in(stored)
    return await judged(url, knowledge, StoreReader(loaded.config.database, time.monotonic))
