"""``toc users``: the accounts of staff for the console."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toc import accounts, startup
from toc.commands.options import ConfigOption, in_database, now
from toc.errors import Invalid

commands = typer.Typer(no_args_is_help=True, help="Accounts of staff: add, list, password, role, disable.")
ACTOR = "command"

PasswordOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the account.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="users")


def choose_password(name: str, from_stdin: bool) -> tuple[str, bool]:
    """A password, and whether it was made here: from standard input, else asked for on a terminal, else made.

    Raises Invalid.
    """
    if from_stdin:
        return accounts.checked_password(sys.stdin.readline().rstrip("\r\n"), name), False
    if sys.stdin.isatty() and sys.stdout.isatty():
        text = typer.prompt(f"Password for {name} (empty: make one)", default="", hide_input=True, show_default=False)
        if text:
            again = typer.prompt("Once more", hide_input=True)
            if again != text:
                raise Invalid("the two passwords differ; nothing was changed")
            return accounts.checked_password(text, name), False
    return secrets.token_urlsafe(18), True


def show_password(name: str, password: str) -> None:
    print(f"Password of {name}, shown only now:")
    print(password)


@commands.command()
def add(
    name: NameArgument,
    role: Annotated[str, typer.Option(help="viewer, analyst or admin.")] = "viewer",
    password_stdin: PasswordOption = False,
    config: ConfigOption = None,
) -> None:
    """Make an account; without a terminal and without --password-stdin its password is made and printed, once."""
    loaded = startup.read(config).config
    name, found = accounts.checked_name(name), accounts.checked_role(role)
    password, made = choose_password(name, password_stdin)
    in_database(loaded, lambda c: accounts.add(c, name, found, password, actor=ACTOR, now=now()))
    print(f"{name} is {found.value} now")
    if made:
        show_password(name, password)


@commands.command("list")
def list_users(config: ConfigOption = None) -> None:
    """Show every account."""
    rows = in_database(startup.read(config).config, accounts.listing)
    table = Table("name", "role", "created (UTC)", "disabled (UTC)", box=None)
    for row in rows:
        disabled = row["disabled"].strftime("%Y-%m-%d %H:%M") if row["disabled"] else ""
        table.add_row(row["name"], row["role"], row["created"].strftime("%Y-%m-%d %H:%M"), disabled)
    Console().print(table)


@commands.command()
def passwd(name: NameArgument, password_stdin: PasswordOption = False, config: ConfigOption = None) -> None:
    """Give an account a new password: its sessions end, its lock-outs too."""
    loaded = startup.read(config).config
    password, made = choose_password(name, password_stdin)
    in_database(loaded, lambda c: accounts.set_password(c, name, password, actor=ACTOR, now=now()))
    print(f"{name} has a new password, and is signed out everywhere")
    if made:
        show_password(name, password)


@commands.command()
def role(
    name: NameArgument,
    new_role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, analyst or admin.")],
    config: ConfigOption = None,
) -> None:
    """Change what an account may do, from its next request on."""
    loaded = startup.read(config).config
    found = accounts.checked_role(new_role)
    in_database(loaded, lambda c: accounts.set_role(c, name, found, actor=ACTOR, now=now()))
    print(f"{name} is {found.value} now")


@commands.command()
def disable(
    name: NameArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let it sign in again.")] = False,
    config: ConfigOption = None,
) -> None:
    """Let an account in no more; its sessions end at once."""
    loaded = startup.read(config).config
    change = accounts.enable if undo else accounts.disable
    in_database(loaded, lambda c: change(c, name, actor=ACTOR, now=now()))
    print(f"{name} {'may sign in again' if undo else 'is disabled'}")
