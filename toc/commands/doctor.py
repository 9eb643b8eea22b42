"""``toc doctor``: checks what an operator can get wrong, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from redirector.branding import load_branding
from redirector.pages import Renderer
from redirector.push import positions
from toc import accounts, pushing, startup
from toc.commands.doctor_mail import mail_road
from toc.commands.findings import Finding
from toc.commands.options import ConfigOption, in_database, now
from toc.config import Config
from toc.errors import TocError
from toc.keys import load
from toc.refreshing import list_states
from toc.server import check_keyset
from toc.startup import Startup
from toc.store import engine as store

CLOCK_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    mail: Annotated[
        bool, typer.Option("--mail", help="Also send a mail through the gateway and follow its link.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Check settings, keyset and its backup, database, accounts, lists, pushes, pages, the public URL and the clock."""
    loaded = startup.read(config)
    findings = [Finding("settings", True, f"{loaded.config.source}, policy {loaded.policy.version}")]
    for check in (*CHECKS, *((mail_road,) if mail else ())):
        try:
            findings += check(loaded)
        except TocError as error:
            findings.append(Finding(check.__name__.strip("_"), False, str(error)))
    table = Table("", "what", "says", "what to do", box=None)
    for found in findings:
        mark = {True: "[green]ok[/green]", False: "[red]wrong[/red]", None: "[yellow]?[/yellow]"}[found.ok]
        table.add_row(mark, *map(escape, (found.what, found.says, found.advice)))
    Console().print(table)
    if any(found.ok is False for found in findings):
        raise typer.Exit(1)


def _keyset(loaded: Startup) -> list[Finding]:
    check_keyset(loaded)
    path = loaded.config.keyset_path
    keyset = load(path)
    found = [Finding("keyset", True, f"{path}: {len(keyset.keys)} keys, deployment {keyset.deployment}")]
    backup = loaded.config.service.keyset_backup
    if not backup:
        advice = "copy keyset.json to a safe place and name it in [service] keyset_backup"
        return [*found, Finding("backup of the keyset", None, "no place is configured", advice)]
    saved = load(loaded.config.path(backup))
    missing = {key.id for key in keyset.keys} - {key.id for key in saved.keys}
    says = f"{len(missing)} keys are missing in {backup}" if missing else backup
    return [
        *found,
        Finding("backup of the keyset", not missing, says, "copy keyset.json there again" if missing else ""),
    ]


def _database(loaded: Startup) -> list[Finding]:
    url = loaded.config.database
    revision = store.revision(url)
    if revision is None:
        return [Finding("database", None, "not made yet", "`toc serve` makes it")]
    store.upgrade(url)
    return [Finding("database", True, f"schema {store.revision(url)}")]


def _accounts(loaded: Startup) -> list[Finding]:
    """Somebody can sign in to the console and let others in. An installation from before the console has nobody yet."""
    if store.revision(loaded.config.database) is None:
        return []
    staff = [row for row in in_database(loaded.config, accounts.listing) if row["disabled"] is None]
    if any(row["role"] == accounts.Role.ADMIN for row in staff):
        return [Finding("accounts", True, f"{len(staff)} may sign in to the console")]
    return [Finding("accounts", None, "no admin for the console", "`toc users add NAME --role admin`")]


def _lists(loaded: Startup) -> list[Finding]:
    rows = list_states(loaded.config)
    if not rows:
        advice = "name sources in [[reputation.feeds]] (docs/feeds.md)"
        return [Finding("lists", None, "none is configured: only objects and signs judge", advice)]
    found = []
    for row in rows:
        fine = row.generation is not None and not row.stale
        says = f"{row.entries:,} entries" if row.generation else "never loaded"
        advice = "" if fine else f"`toc lists refresh {row.name}`; last error: {row.last_error or 'none'}"
        found.append(Finding(f"list {row.name}", fine, says, advice))
    return found


PUSH_FAILURES = "failures in a row"


def _push(loaded: Startup) -> list[Finding]:
    """Each target of [[push]] takes clicks; the channels of [alerts] can be made."""
    pushing.check(loaded.config)
    if not loaded.config.push or store.revision(loaded.config.database) is None:
        return []
    places = in_database(loaded.config, positions)
    found = []
    for row in loaded.config.push:
        place = places.get(row.name)
        if place is None:
            found.append(Finding(f"push {row.name}", None, "nothing was sent yet", "`toc serve` sends"))
        elif place.failures:
            says = f"{place.failures} {PUSH_FAILURES}: {place.error}"
            found.append(Finding(f"push {row.name}", False, says, "it is tried again by itself; check the receiver"))
        else:
            found.append(Finding(f"push {row.name}", True, f"up to click {place.seq:,}"))
    return found


def _pages(loaded: Startup) -> list[Finding]:
    refused = Renderer(load_branding(loaded.config)).refused
    if refused is not None:
        return [Finding("pages", False, str(refused), "mend the template; the built-in pages serve until then")]
    return [Finding("pages", True, "they render")]


def _public_url(loaded: Startup) -> list[Finding]:
    """The public URL answers, and its clock and ours agree."""
    base = _base(loaded.config)
    try:
        answer = httpx.get(f"{base}/healthz", timeout=5.0)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        advice = "start `toc serve`; check DNS, TLS and the proxy in front"
        return [Finding("public URL", False, f"{base}: {type(error).__name__}", advice)]
    found = [Finding("public URL", True, base)]
    stated = answer.headers.get("date")
    if stated:
        there = parsedate_to_datetime(stated).timestamp()
        apart = abs(there - now().timestamp())
        fine = apart < CLOCK_SECONDS
        found.append(Finding("clock", fine, f"{apart:.0f} s apart", "" if fine else "synchronise the clocks (NTP)"))
    return found


def _base(config: Config) -> str:
    return load(config.keyset_path).public_urls[0].href.rstrip("/")


CHECKS: tuple[Callable[[Startup], list[Finding]], ...] = (
    _keyset, _database, _accounts, _lists, _push, _pages, _public_url,
)  # fmt: skip
