"""``toc retention``: what the service does each hour, now: old clicks go, old client addresses are truncated."""

from __future__ import annotations

import asyncio
import json

import typer

from redirector.retention import apply_retention
from toc import audit, startup
from toc.commands.options import ConfigOption, now, progress
from toc.config import Config
from toc.store import engine as store

commands = typer.Typer(no_args_is_help=True, help="How long clicks and client addresses stay.")
ACTOR = "command"


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="retention")


@commands.callback()
def group() -> None:
    """How long clicks and client addresses stay."""


@commands.command()
def run(config: ConfigOption = None) -> None:
    """Apply [clicks] retention_days and address_days now, and print how many clicks each met."""
    loaded = startup.read(config).config
    store.upgrade(loaded.database)
    print(json.dumps(asyncio.run(_run(loaded))))


async def _run(config: Config) -> dict[str, int]:
    engine = store.open_async(config.database)
    try:
        with progress("clicks") as tell:
            done = await apply_retention(engine, config.clicks, now(), progress=tell)
        async with engine.begin() as connection:
            detail = ", ".join(f"{count} {what}" for what, count in done.items())
            await audit.note(connection, now(), ACTOR, "retention_run", "clicks", detail)
    finally:
        await engine.dispose()
    return done
