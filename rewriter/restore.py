"""The way back, the exit kit: our links become their targets; an untouched rewritten mail becomes its original, byte for byte.

Pure; what a link or a field opens to is handed in. It works with the keyset alone.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from rewriter import charset, inverse, mime, transfer
from rewriter.bodies import body_kind
from rewriter.edit import Edit, apply
from rewriter.headers import field, remove_fields
from rewriter.message import OUR_FIELDS, RESTORE_FIELD
from rewriter.mime import Group, Part

OpenLink = Callable[[str], str | None]
"""The target of a link of ours, None for anything else."""

_LIMITS = mime.Limits(parts=10_000, depth=1000)
_OWN = re.compile(r"https?://[^\s\"'<>]{1,300}?/[up]/[a-z0-9.\-]{1,63}/[12][A-Za-z0-9_\-]{60,}", re.IGNORECASE)
_INSERTED = re.compile(r'<a href="([^"<>]{1,12000})" style="color:inherit;text-decoration:inherit">([^<]*)</a>')
MAX_TRIES = 8


def restore_message(raw: bytes, open_link: OpenLink, open_restore: Callable[[str], bytes | None]) -> bytes:
    """The original of a rewritten message. What does not open stays; fields of ours are removed, forged ones too."""
    clean = remove_fields(raw, OUR_FIELDS)
    for value in field(raw, RESTORE_FIELD):
        sealed = open_restore(re.sub(rb"\s+", b"", value).decode("ascii", "replace"))
        if sealed is not None:
            original = _exact(clean, sealed)
            if original is not None:
                return original
    return apply(clean, _edits(clean, open_link))


def restore_body(body: bytes, content_type: str, open_link: OpenLink) -> bytes:
    """The same for one bare body."""
    part = Part("1", mime.content_type(content_type), "7bit", "", 0, len(body), (0, 0), ())
    return apply(body, _part(body, part, open_link))


def _exact(clean: bytes, sealed: bytes) -> bytes | None:
    try:
        return inverse.restore(clean, sealed)
    except (ValueError, IndexError, zlib.error, struct.error):  # an older version's form
        return None


def _edits(raw: bytes, open_link: OpenLink) -> list[Edit[bytes]]:
    found: list[Edit[bytes]] = []
    for item in mime.parts(raw, _LIMITS):
        if not isinstance(item, Group):
            found += _part(raw, item, open_link)
    return found


def _part(raw: bytes, part: Part, open_link: OpenLink) -> list[Edit[bytes]]:
    kind = body_kind(part)
    if kind is None or kind == "opaque":
        return []
    decoded = transfer.decode(raw[part.start : part.end], part.encoding)
    text = charset.decode(decoded.content, part.type.parameters.get("charset", ""), html=kind == "html")
    edits = _text_edits(text.text, open_link, html=kind == "html")
    spliced = transfer.splice(decoded, charset.byte_edits(text, edits))
    return [Edit(part.start + edit.start, part.start + edit.end, edit.new) for edit in spliced]


def _text_edits(text: str, open_link: OpenLink, *, html: bool) -> list[Edit[str]]:
    """Inserted anchors are taken away, other links replaced by their targets."""
    edits: list[Edit[str]] = []
    done = 0
    if html:
        for found in _INSERTED.finditer(text):
            if open_link(found.group(1)) is not None:
                edits += _links(text, done, found.start(), open_link, html)
                edits.append(Edit(found.start(), found.start(2), ""))
                edits.append(Edit(found.end(2), found.end(), ""))
                done = found.end()
    return edits + _links(text, done, len(text), open_link, html)


def _links(text: str, start: int, end: int, open_link: OpenLink, html: bool) -> list[Edit[str]]:
    edits = []
    for found in _OWN.finditer(text, start, end):
        link = found.group()
        for _ in range(MAX_TRIES):
            link = link[: link.rfind("x") + 1]
            target = open_link(link) if link else None
            if target is not None:
                new = target.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#39;") if html else target
                edits.append(Edit(found.start(), found.start() + len(link), new))
                break
            link = link[:-1]
    return edits
