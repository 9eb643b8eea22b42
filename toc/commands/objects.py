"""``toc objects``: suspicious objects and approved entries, by hand and by file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from reputation import exchange, object_store
from reputation.objects import breadth_warning, breadth_warnings, parse_object
from toc import impact, impact_api, startup
from toc.commands.options import ConfigOption, in_database, now
from toc.errors import ConfigError, Invalid
from toc.hiding import inert
from toc.knowledge import read_popularity
from toc.store import engine as store
from toc.synchronising import Report, synchronise
from toc.worker import Ids

commands = typer.Typer(no_args_is_help=True, help="Suspicious objects and approved entries.")
ACTOR = "command"


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="objects")


@commands.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="url, domain, ip, file_sha1 or file_sha256.")],
    value: Annotated[str, typer.Argument(help="What it is; a domain covers its sub-hosts.")],
    action: Annotated[str, typer.Option(help="block, warn, log, allow or override.")] = "block",
    risk_level: Annotated[str, typer.Option(help="high, medium or low.")] = "",
    note: Annotated[str, typer.Option(help="Why.")] = "",
    owner: Annotated[str, typer.Option(help="Who answers for it; an override needs one.")] = "",
    expires: Annotated[str, typer.Option(help="When it ends (RFC 3339); an override needs it.")] = "",
    config: ConfigOption = None,
) -> None:
    """Add an object; running workers know it within a second."""
    loaded = startup.read(config).config
    fields = {"type": kind, "value": value, "action": action, "risk_level": risk_level, "note": note, "owner": owner}
    found = parse_object({**fields, "expires": expires, "source": "command"}, object_id=Ids()(), created=now())
    warning = breadth_warning(found, read_popularity(loaded))
    if warning:
        Console(stderr=True).print(f"careful: {warning}")
    stored = in_database(loaded, lambda c: object_store.add(c, found, actor=ACTOR, now=now()))
    print(stored.id)


@commands.command("impact")
def impact_of(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="url, domain or ip.")],
    value: Annotated[str, typer.Argument(help="What it is; a domain covers its sub-hosts.")],
    action: Annotated[str, typer.Option(help="block, warn, log or allow.")] = "block",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Clicks of so many days.")] = impact_api.DAYS,
    limit: Annotated[int, typer.Option(min=1, max=impact.MOST, help="Rows of each list.")] = 50,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    config: ConfigOption = None,
) -> None:
    """Show what an object would have met: who clicked, and who still holds links to it. Adds nothing."""
    started = startup.read(config)
    entry = parse_object({"type": kind, "value": value, "action": action}, object_id="dry-run", created=now())
    top_sites = read_popularity(started.config)
    found = in_database(
        started.config,
        lambda c: impact_api.dry_run(c, entry, started.policy, days=days, limit=limit, now=now(), top_sites=top_sites),
    )
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    _print_impact(found)


def _print_impact(found: impact_api.ImpactAnswer) -> None:
    out = Console()
    for line in found.warnings:
        Console(stderr=True).print(f"careful: {inert(line)}", markup=False)
    for was, counts in found.counts.items():
        for would, number in counts.items():
            out.print(f"{number} clicks: {was} then, {would} with it")
    clicks = Table("time (UTC)", "then", "with it", "recipient", "url", title="Clicked", box=None)
    for click in found.clicks:
        cells = (
            click.time[:19],
            f"{click.event} ({click.action})",
            click.would,
            ", ".join(click.recipients),
            click.url,
        )
        clicks.add_row(*(Text(inert(cell)) for cell in cells))
    held = Table("Message-ID", "recipient", "subject", "url", title="Held, not clicked", box=None)
    for row in found.held:
        facts = (row.message_id, row.recipient or row.recipient_ref, row.subject, row.url)
        held.add_row(*(Text(inert(fact)) for fact in facts))
    if found.clicks:
        out.print(clicks)
    if found.held:
        out.print(held)
    out.print(f"{len(found.people)} people came through; {found.held_total} links are held and not clicked")


@commands.command("list")
def list_objects(
    text: Annotated[str, typer.Option("--search", help="A part of value, note or owner.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
    config: ConfigOption = None,
) -> None:
    """Show the objects."""
    loaded = startup.read(config).config
    found, _ = in_database(loaded, lambda c: object_store.page(c, limit=10_000, text=text))
    if as_json:
        print(json.dumps([asdict(item) for item in found], default=str, ensure_ascii=False, indent=1))
        return
    whole = Column("id", min_width=32, no_wrap=True)  # `remove` takes it, also where it came through a pipe
    table = Table(whole, "type", Column("value", overflow="fold"), "action", "risk", "owner", "expires (UTC)", box=None)
    for item in found:
        expires = item.expires.strftime("%Y-%m-%d %H:%M") if item.expires else ""
        table.add_row(item.id, item.type, item.value, item.action, item.risk_level or "", item.owner, expires)
    out = Console()
    if not out.is_terminal:
        out.width = 240
    out.print(table)


@commands.command()
def remove(
    object_id: Annotated[str, typer.Argument(metavar="ID", help="As `toc objects list` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Take an object away."""
    loaded = startup.read(config).config
    gone = in_database(loaded, lambda c: object_store.remove(c, object_id, actor=ACTOR, now=now()))
    print(f"removed {gone.type} {gone.value}")


@commands.command("import")
def import_objects(
    file: Annotated[Path, typer.Argument(help="CSV with a head, or a STIX 2.1 bundle.")], config: ConfigOption = None
) -> None:
    """Add what a file holds; each line that could not be taken is named."""
    loaded = startup.read(config).config
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from None
    found, refused = exchange.from_file(raw, new_id=Ids(), created=now())
    added = in_database(loaded, lambda c: object_store.add_many(c, found, actor=ACTOR, now=now()))
    for line in refused:
        Console(stderr=True).print(f"refused: {line}", markup=False)
    for warning in breadth_warnings(found, read_popularity(loaded)):
        Console(stderr=True).print(f"careful: {warning}", markup=False)
    print(f"{added} added, {len(found) - added} known before, {len(refused)} refused")


@commands.command()
def export(
    form: Annotated[str, typer.Option("--format", help="csv or stix.")] = "csv", config: ConfigOption = None
) -> None:
    """Print every object."""
    loaded = startup.read(config).config
    found = in_database(loaded, object_store.everything)
    if form not in ("csv", "stix"):
        raise Invalid(f"format {form!r} is neither csv nor stix")
    print(exchange.to_csv(found) if form == "csv" else exchange.to_stix(found, now=now()), end="")


@commands.command()
def sync(config: ConfigOption = None) -> None:
    """Exchange objects with Apex Central now (`[reputation.apex_central]`)."""
    loaded = startup.read(config).config
    if not loaded.reputation.apex_central.url:
        raise ConfigError("[reputation.apex_central] url is empty; docs/verdict.md says how to set it up")
    store.upgrade(loaded.database)

    async def run() -> Report:
        engine = store.open_async(loaded.database)
        try:
            return await synchronise(loaded, engine, Ids())
        finally:
            await engine.dispose()

    report = asyncio.run(run())
    for line in report.refused:
        Console(stderr=True).print(f"refused: {line}", markup=False)
    changes = report.changes
    print(f"here: {changes.added} added, {changes.changed} changed, {changes.removed} removed")
    print(f"there: {report.put} put, {report.taken_away} taken away")
