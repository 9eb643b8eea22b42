"""``toc apikeys``: who may call the management listener."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toc import access, startup
from toc.commands.options import ConfigOption, in_database, now

commands = typer.Typer(no_args_is_help=True, help="Add, list and revoke API keys.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="apikeys")


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in the audit trail.")],
    scope: Annotated[list[str], typer.Option(help="rewrite, verdict, read, objects or admin; repeatable.")],
    config: ConfigOption = None,
) -> None:
    """Make a key and print it, once."""
    loaded = startup.read(config).config
    print(in_database(loaded, lambda connection: access.add(connection, name, scope, random=os.urandom, now=now())))


@commands.command("list")
def list_keys(config: ConfigOption = None) -> None:
    """Show every key without its secret."""
    rows = in_database(startup.read(config).config, access.listing)
    table = Table("id", "name", "scopes", "created (UTC)", "revoked (UTC)", box=None)
    for row in rows:
        revoked = row["revoked"].strftime("%Y-%m-%d %H:%M") if row["revoked"] else ""
        table.add_row(row["id"], row["name"], row["scopes"], row["created"].strftime("%Y-%m-%d %H:%M"), revoked)
    Console().print(table)


@commands.command()
def revoke(key: Annotated[str, typer.Argument(help="Id of the key.")], config: ConfigOption = None) -> None:
    """Refuse this key from now on."""
    in_database(startup.read(config).config, lambda connection: access.revoke(connection, key, now=now()))
    print(f"{key} is revoked")
