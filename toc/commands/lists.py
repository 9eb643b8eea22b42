"""``toc lists`` and ``toc verdict``: what the sources know, and what they say of one URL."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from reputation.api import VerdictAnswer
from toc import startup
from toc.commands.options import ConfigOption
from toc.errors import ListError, NotFound
from toc.judged import judged
from toc.knowledge import Knowledge, feeds_of
from toc.live import live_sources
from toc.refreshing import list_states, new_client, refresh_one
from toc.sightings import StoreReader
from toc.startup import Startup

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
    url: Annotated[str, typer.Argument(help="The URL to be judged.")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
    config: ConfigOption = None,
) -> None:
    """Judge a URL now, and say why."""
    answer = asyncio.run(_judged(url, startup.read(config)))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())
        return
    console = Console(highlight=False)
    console.print(f"[bold]{answer.level}[/bold] → {answer.decision.action} ({', '.join(answer.decision.reasons)})")
    for match in answer.matches:
        where = f" line {match.line}" if match.line else ""
        console.print(f"  {match.kind} {match.source}{where} (generation {match.generation}): ", end="")
        console.print(f"{match.entry} · {match.threat} · {match.level} · by {match.form}", markup=False)
    for sign in answer.signs:
        console.print(f"  sign {sign.code}, {sign.points} points: {sign.detail}", markup=False)
    if answer.silent:
        console.print(f"  silent: {', '.join(answer.silent)}", markup=False)
    console.print(f"  as of {answer.as_of:%Y-%m-%d %H:%M:%S} UTC, profile {answer.decision.profile}", markup=False)


async def _judged(url: str, loaded: Startup) -> VerdictAnswer:
    knowledge = Knowledge(loaded, live=live_sources(loaded.config))
    return await judged(url, knowledge, StoreReader(loaded.config.database, time.monotonic))
