"""``toc init`` and ``toc serve``: from nothing to a running service."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from toc import access, accounts, keys, startup
from toc.commands import users
from toc.commands.options import ConfigOption, in_database, now
from toc.errors import ConfigError

SETTINGS = """\
# Settings of Time-of-Click. Every setting and its default: docs/settings.md.
# Each can also be given in the environment, as TOC_SECTION__KEY.

[service]
public_url = "{public_url}"
public_listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:8081"
# contact = "Help desk, extension 1234"

# [[reputation.feeds]]
# name = "my-blocklist"
# url = "https://lists.example.org/domains.txt"
# format = "domain_list"

# [[policy.rules]]
# name = "finance"
# recipient = ["finance@example.com"]
# profile = "strict"
"""


def register(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(serve)


def init(
    directory: Annotated[Path, typer.Argument(help="Folder for settings, keyset and database.")],
    public_url: Annotated[str, typer.Option("--public-url", help="Base of the links in mails.")],
    tenant: Annotated[str, typer.Option(help="Name of the tenant, [a-z0-9-].")] = "default",
    user: Annotated[str, typer.Option(help="Name of the console's first account, an admin.")] = "admin",
    password_stdin: users.PasswordOption = False,
) -> None:
    """Make settings, keyset, database and the console's first account; print an API key with every scope, once."""
    settings = directory / startup.FILE_NAME
    if settings.exists():
        raise ConfigError(f"{settings} exists already; `toc serve --config {settings}` runs it")
    moment = now()
    user = accounts.checked_name(user)
    password, made = users.choose_password(user, password_stdin)
    deployment = "d-" + secrets.token_hex(8)
    keyset = keys.create(deployment, tenant, (public_url,), random=os.urandom, now=moment)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "keyset.json").exists():
            raise ConfigError(f"{directory / 'keyset.json'} exists already; it opens the links of old mails: keep it")
        keys.save(directory / "keyset.json", keyset)
        settings.write_text(SETTINGS.format(public_url=keyset.public_urls[0].href.rstrip("/")), "utf-8")
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from None
    config = startup.read(settings).config
    scopes = [scope.value for scope in access.Scope]
    admin = accounts.Role.ADMIN
    in_database(config, lambda c: accounts.add(c, user, admin, password, actor=users.ACTOR, now=moment))
    key = in_database(config, lambda c: access.add(c, "first key", scopes, random=os.urandom, now=moment))
    print(f"Made {settings}, {directory / 'keyset.json'} and {config.database.removeprefix('sqlite:///')}.")
    print("Back up keyset.json: without it no link in any mail opens again.")
    print(f"The console's account is {user!r}.")
    if made:
        users.show_password(user, password)
    print("API key with every scope, shown only now:")
    print(key)


def serve(
    workers: Annotated[int | None, typer.Option(help="Processes that answer clicks.", min=1)] = None,
    only: Annotated[str | None, typer.Option(help="`redirector`: answer clicks and nothing else.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Appears when everything answers.")] = None,
    sunset: Annotated[bool, typer.Option(help="The service has ended: links open by the keyset alone.")] = False,
    config: ConfigOption = None,
) -> None:
    """Run the service."""
    if only not in (None, "redirector"):
        raise typer.BadParameter("only `redirector` can run alone", param_hint="--only")
    # Imported here: the metrics library fixes at its import whether numbers are summed over processes.
    from toc import server

    raise typer.Exit(server.run(startup.read(config), server.Mode(workers, only == "redirector", sunset, ready_file)))
