"""``toc clicks``: the click log on the command line."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from redirector import click_filters, click_search
from redirector.export import format_of
from toc import startup
from toc.commands.options import ConfigOption, in_database, progress
from toc.errors import Invalid
from toc.store.engine import open_async

commands = typer.Typer(no_args_is_help=True, help="Search, follow and export the click log.")
TAIL_SECONDS = 0.5

FiltersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help=f"Filters: {', '.join(click_filters.FILTERS)}.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="clicks")


@commands.command()
def search(
    filters: FiltersArgument = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    form: Annotated[str, typer.Option("--format", help="table, jsonl, csv, ecs, cef or urlclickevents.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Show the newest clicks that fit."""
    loaded = startup.read(config).config
    found, _ = in_database(loaded, lambda c: click_search.search(c, _filters(filters), limit=limit))
    if form != "table":
        _, head, line = format_of(form)
        print(head + "".join(map(line, found)), end="")
        return
    table = Table("time (UTC)", "event", "action", "level", "host", "recipient", "reasons", "id", box=None)
    for click in found:
        table.add_row(*_shown(click))
    Console().print(table)


def _shown(click: dict[str, Any]) -> list[str]:
    time = click["time"][:19].replace("T", " ")
    cells = [time, click["event"], click["action"], click["level"], click["host"]]
    return [*cells, ", ".join(click["recipients"]), ", ".join(click["reasons"]), click["id"]]


@commands.command()
def tail(
    filters: FiltersArgument = None,
    form: Annotated[str, typer.Option("--format", help="jsonl, csv, ecs, cef or urlclickevents.")] = "jsonl",
    config: ConfigOption = None,
) -> None:
    """Print clicks as they come, until interrupted."""
    loaded = startup.read(config).config
    _, _, line = format_of(form)
    wanted = _filters(filters)

    async def follow() -> None:
        async with open_async(loaded.database).connect() as connection:
            cursor = await click_search.newest(connection)
            while True:
                found, cursor = await click_search.following(connection, wanted, limit=1000, cursor=cursor)
                await connection.rollback()  # the next look is to see what has come since
                sys.stdout.writelines(map(line, found))
                sys.stdout.flush()
                await asyncio.sleep(TAIL_SECONDS)

    try:
        asyncio.run(follow())
    except KeyboardInterrupt:
        return


@commands.command()
def export(
    filters: FiltersArgument = None,
    form: Annotated[str, typer.Option("--format", help="jsonl, csv, ecs, cef or urlclickevents.")] = "jsonl",
    config: ConfigOption = None,
) -> None:
    """Print every click that fits, newest first."""
    loaded = startup.read(config).config
    _, head, line = format_of(form)
    wanted = _filters(filters)

    async def run() -> None:
        engine = open_async(loaded.database)
        sys.stdout.write(head)
        with progress("clicks") as tell:
            async with engine.connect() as connection:
                async for click in click_search.stream(connection, wanted):
                    sys.stdout.write(line(click))
                    tell(1)
        await engine.dispose()

    asyncio.run(run())


def _filters(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise Invalid(f"{text!r} is no NAME=VALUE; names are {', '.join(click_filters.FILTERS)}")
        found[name] = value
    return found
