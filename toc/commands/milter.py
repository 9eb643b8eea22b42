"""``toc milter``: the gateway's way in, for Postfix and Sendmail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toc import logs, milter, startup
from toc.commands.options import ConfigOption
from toc.keys import load
from toc.store import engine as store
from toc.supervisor import write_ready_file


def register(app: typer.Typer) -> None:
    app.command("milter")(serve)


def serve(
    ready_file: Annotated[Path | None, typer.Option(help="Appears when it answers.")] = None,
    config: ConfigOption = None,
) -> None:
    """Answer a mail server on `[milter] listen` (docs/gateways.md)."""
    loaded = startup.read(config)
    logs.configure(loaded.config.service.log_level)
    load(loaded.config.keyset_path)
    store.upgrade(loaded.config.database)

    def ready(address: str) -> None:
        if ready_file is not None:
            write_ready_file(ready_file, {"milter": address})

    milter.run(loaded, ready)
