"""``toc keys``: the keyset's life."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toc import keys, startup
from toc.commands.options import ConfigOption, now
from toc.errors import KeysetError

commands = typer.Typer(no_args_is_help=True, help="List, add, promote and disable keys.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="keys")


@commands.command("list")
def list_keys(config: ConfigOption = None) -> None:
    """Show every key without its secret."""
    keyset = keys.load(startup.read(config).config.keyset_path)
    table = Table("id", "state", "created (UTC)", box=None)
    for key in keyset.keys:
        table.add_row(key.id.hex(), key.state.value, key.created.strftime("%Y-%m-%d %H:%M:%S"))
    Console().print(table)


@commands.command()
def add(config: ConfigOption = None) -> None:
    """Add a key that opens links; it seals only after `promote`."""
    path = startup.read(config).config.keyset_path
    keyset = keys.change(path, lambda old: keys.add(old, random=os.urandom, now=now()))
    print(keyset.keys[-1].id.hex())


@commands.command()
def promote(
    key: Annotated[str, typer.Argument(help="Id of the key, as `toc keys list` shows it.")],
    at_once: Annotated[bool, typer.Option("--now", help="Also a key younger than 60 seconds.")] = False,
    config: ConfigOption = None,
) -> None:
    """Seal new links with this key; the former one goes on opening."""
    key_id = _key_id(key)
    path = startup.read(config).config.keyset_path
    keys.change(path, lambda old: keys.promote(old, key_id, now=now(), at_once=at_once))
    print(f"{key} is the primary key now")


@commands.command()
def disable(
    key: Annotated[str, typer.Argument(help="Id of the key, as `toc keys list` shows it.")], config: ConfigOption = None
) -> None:
    """Make every link sealed with this key a damaged link."""
    key_id = _key_id(key)
    path = startup.read(config).config.keyset_path
    keys.change(path, lambda old: keys.disable(old, key_id))
    print(f"{key} is disabled")


@commands.command("public-url")
def public_url(url: Annotated[str, typer.Argument(help="New base of the links.")], config: ConfigOption = None) -> None:
    """Seal for another base URL from now on; links with the former ones stay ours."""
    path = startup.read(config).config.keyset_path
    keyset = keys.change(path, lambda old: keys.move(old, url))
    print(f"links begin with {keyset.public_urls[0].href} now; set [service] public_url to it")


def _key_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KeysetError(f"{text!r} is no key id; `toc keys list` shows them") from None
