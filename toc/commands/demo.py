"""``toc demo``: everything in a temporary folder."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    check: Annotated[bool, typer.Option("--check", help="Walk the road with an HTTP client and exit.")] = False,
) -> None:
    """Show sample mails before and after rewriting; their links lead to local pages."""
    from toc import demonstration  # it starts the service: its imports belong to it alone

    raise typer.Exit(demonstration.run(check=check))
