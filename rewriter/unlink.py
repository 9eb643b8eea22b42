"""Own links back to their targets, in every part of a message that the rewriter could have put them in. Pure.

What a link opens to is handed in. Inserted anchors are taken away again.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rewriter import charset, mime, transfer
from rewriter.bodies import body_kind
from rewriter.content_type import ContentType
from rewriter.edit import Edit
from rewriter.mime import Group, Part
from rewriter.text_joined import join
from rewriter.transfer import Change

OpenLink = Callable[[str], str | None]
"""The target of a link of ours, None for anything else."""


def needs_store(link: str) -> bool:
    """Whether a link of ours bears the id of its target instead of the target: the keyset alone does not open it."""
    return link.rpartition("/")[2].startswith("2")


MAX_NESTED = 20
"""Encoded messages inside encoded messages that are opened."""

_LIMITS = mime.Limits(parts=10_000, depth=1000)
OWN_PATH = r"/[up]/[a-z0-9.\-]{1,63}/[12]"
"""How every link of ours goes on behind a base URL; others may, too."""

_OWN = re.compile(rf"https?://(?:[^\s\"'<>:]|:(?!//)){{1,300}}?{OWN_PATH}[A-Za-z0-9_\-]{{30,}}")
_INSERTED = re.compile(r'<a href="([^"<>]{1,12000})" style="color:inherit;text-decoration:inherit">([^<]*)</a>')
_FOLD = re.compile(r"(?:\r\n|\n|\r)[ \t]")
_ESCAPES = str.maketrans({"&": "&amp;", '"': "&quot;", "'": "&#39;"})
MAX_TRIES = 8
"""Ends of a token that are tried, as in `toc.token`."""


def unlinked(raw: bytes, open_link: OpenLink, top: ContentType | None = None, nested: int = 0) -> list[Change]:
    """The changes that put the targets back, ascending. `top`: type of a body that has no header."""
    found: list[Change] = []
    for item in mime.parts(raw, _LIMITS, top=top):
        if isinstance(item, Group):
            continue
        decoded, edits = _part(raw, item, open_link, nested)
        if decoded is not None:
            found += transfer.changes(item.start, decoded, edits)
    return found


def _part(
    raw: bytes, part: Part, open_link: OpenLink, nested: int
) -> tuple[transfer.Decoded | None, list[Edit[bytes]]]:
    if is_encoded_entity(part):
        if nested >= MAX_NESTED:
            return None, []
        decoded = transfer.decode(raw[part.start : part.end], part.encoding)
        top = None if part.type.kind in mime.MESSAGES else part.type
        return decoded, [change.edit for change in unlinked(decoded.content, open_link, top, nested + 1)]
    kind = body_kind(part)
    if kind not in ("html", "text", "calendar"):
        return None, []
    decoded = transfer.decode(raw[part.start : part.end], part.encoding)
    text = charset.decode(decoded.content, part.type.parameters.get("charset", ""), html=kind == "html")
    return decoded, charset.byte_edits(text, _READERS[kind](text.text, open_link))


def is_encoded_entity(part: Part) -> bool:
    """Whether other parts stand in this one, inside a transfer encoding: clients decode it, though no one should send it."""
    return part.encoding != "7bit" and (part.type.kind in mime.MESSAGES or part.type.kind.startswith("multipart/"))


def _html(text: str, open_link: OpenLink) -> list[Edit[str]]:
    """Inserted anchors are taken away, other links replaced by their targets."""
    edits: list[Edit[str]] = []
    done = 0
    for found in _INSERTED.finditer(text):
        if open_link(found.group(1)) is not None:
            edits += _links(text, done, found.start(), open_link, html=True)
            edits.append(Edit(found.start(), found.start(2), ""))
            edits.append(Edit(found.end(2), found.end(), ""))
            done = found.end()
    return edits + _links(text, done, len(text), open_link, html=True)


def _text(text: str, open_link: OpenLink) -> list[Edit[str]]:
    return _links(text, 0, len(text), open_link, html=False)


def _calendar(text: str, open_link: OpenLink) -> list[Edit[str]]:
    """Lines are folded anywhere, so within a link, too (RFC 5545, 3.1)."""
    joined = join(text, [found.span() for found in _FOLD.finditer(text)])
    found = _text(joined.text, open_link)
    return [Edit(joined.source(edit.start), joined.source(edit.end - 1) + 1, edit.new) for edit in found]


def _links(text: str, start: int, end: int, open_link: OpenLink, *, html: bool) -> list[Edit[str]]:
    edits = []
    for found in _OWN.finditer(text, start, end):
        link = found.group()
        for _ in range(MAX_TRIES):
            link = link[: link.rfind("x") + 1]
            target = open_link(link) if link else None
            if target is not None:
                new = target.translate(_ESCAPES) if html else target
                edits.append(Edit(found.start(), found.start() + len(link), new))
                break
            link = link[:-1]
    return edits


_READERS = {"html": _html, "text": _text, "calendar": _calendar}
