"""``toc rewrite``, ``toc restore`` and ``toc link``: the rewriter as a filter, and links opened by hand."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from rewriter.api import Envelope
from toc import links_api, startup
from toc.commands.options import ConfigOption
from toc.errors import Invalid, TocError
from toc.keys import load
from toc.rewriting import Rewriting, Work
from toc.sightings import StoreReader
from toc.store import engine as store
from toc.token import Direction
from toc.unwrap import unwrap

EX_TEMPFAIL = 75
"""sysexits.h: a mail system that called us as a filter keeps the mail and tries again."""

links = typer.Typer(no_args_is_help=True, help="Open links of ours, look into those of other vendors.")

FileArgument = Annotated[str, typer.Argument(help="File, or - for standard input.")]
HtmlOption = Annotated[bool, typer.Option("--html", help="The input is one HTML body.")]
TextOption = Annotated[bool, typer.Option("--text", help="The input is one plain-text body.")]


def register(app: typer.Typer) -> None:
    app.command()(rewrite)
    app.command()(restore)
    links.command("open")(open_link)
    links.command("unwrap")(unwrap_link)
    app.add_typer(links, name="link")


def rewrite(
    file: FileArgument = "-",
    html: HtmlOption = False,
    text: TextOption = False,
    sender: Annotated[str, typer.Option(help="Sender of the mail.")] = "",
    recipient: Annotated[list[str] | None, typer.Option(help="Recipient; repeatable.")] = None,
    direction: Annotated[str, typer.Option(help="inbound, outbound or internal.")] = "inbound",
    receipt: Annotated[Path | None, typer.Option(help="Write the receipt there, as JSON.")] = None,
    config: ConfigOption = None,
) -> None:
    """Rewrite a message (or one body) from FILE to standard output."""

    def work(rewriting: Rewriting, raw: bytes) -> Work:
        if direction.upper() not in Direction.__members__:
            raise Invalid(f"direction {direction!r} is none of inbound, outbound, internal")
        envelope = Envelope(sender, tuple(recipient or ()), Direction[direction.upper()])
        kind = _body_kind(html, text)
        return rewriting.rewrite_body(raw, kind, envelope) if kind else rewriting.rewrite_message(raw, envelope)

    done = _as_filter(file, config, work)
    if receipt is not None:
        outcome = done.outcome
        document = {"receipt": outcome.receipt, "complete": outcome.complete, "notes": outcome.notes}
        receipt.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def restore(
    file: FileArgument = "-", html: HtmlOption = False, text: TextOption = False, config: ConfigOption = None
) -> None:
    """Turn our links in a message (or one body) back into their targets."""

    def work(rewriting: Rewriting, raw: bytes) -> Work:
        kind = _body_kind(html, text)
        if not kind:
            return rewriting.restore_message(raw)
        return rewriting.restore_body(raw, kind)

    done = _as_filter(file, config, work)
    if not done.outcome.complete:
        print("toc: a stored link stays: its target is not in this database", file=sys.stderr)


def _body_kind(html: bool, text: bool) -> str:
    if html and text:
        raise typer.BadParameter("--html and --text exclude each other")
    return "text/html; charset=utf-8" if html else ("text/plain; charset=utf-8" if text else "")


def _as_filter(file: str, config: Path | None, work: Callable[[Rewriting, bytes], Work]) -> Work:
    """Input to output whole or not at all; what goes wrong ends with `EX_TEMPFAIL`, so that no mail is lost."""
    try:
        loaded = startup.read(config)
        store.upgrade(loaded.config.database)
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        with closing(Rewriting(loaded)) as rewriting:
            done = work(rewriting, raw)
    except (TocError, OSError) as error:
        print(f"toc: {error}", file=sys.stderr)
        raise typer.Exit(EX_TEMPFAIL) from None
    sys.stdout.buffer.write(done.outcome.body)
    sys.stdout.buffer.flush()
    return done


def open_link(
    link: Annotated[str, typer.Argument(help="A link of ours, as it was pasted.")], config: ConfigOption = None
) -> None:
    """Show what a link of ours says."""
    loaded = startup.read(config).config
    reader = StoreReader(loaded.database, time.monotonic)
    sealed, _ = asyncio.run(links_api.open_link(link, load(loaded.keyset_path), reader.stored))
    _print(links_api.answer_of(sealed))


def unwrap_link(url: Annotated[str, typer.Argument(help="Another vendor's link.")]) -> None:
    """Look into another vendor's link, without asking anybody."""
    found = unwrap(url)
    _print({"target": found.target, "layers": [{"vendor": row.vendor, "url": row.url} for row in found.layers]})


def _print(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())
