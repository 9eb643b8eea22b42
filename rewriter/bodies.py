"""Which rewriter reads a part, and what is only listed. A table of kinds; knows no encoding and no charset."""

from __future__ import annotations

import re
from typing import Literal

from rewriter.calendar import rewrite_calendar
from rewriter.charset import Text
from rewriter.html import rewrite_html
from rewriter.mime import Part
from rewriter.options import Options
from rewriter.receipt import BodyResult, Outcome, Row
from rewriter.text import rewrite_text
from toc.errors import BadUrl
from toc.link import Kind, Protect
from toc.url import serialise

BodyKind = Literal["html", "text", "calendar", "opaque", "pieces", "smime"]

_KINDS: dict[str, BodyKind] = {
    "text/html": "html",
    "text/x-amp-html": "html",
    "text/xhtml": "html",
    "application/html": "html",
    "application/xhtml+xml": "html",
    "text/calendar": "calendar",
    "text/x-vcalendar": "calendar",
    "application/ics": "calendar",
    "application/ms-tnef": "opaque",
    "application/vnd.ms-tnef": "opaque",
    "application/rtf": "opaque",
    "application/x-rtf": "opaque",
    "text/rtf": "opaque",
    "text/richtext": "text",
    "image/svg+xml": "opaque",
    "application/xml": "opaque",
    "message/partial": "pieces",
    "application/pkcs7-mime": "smime",
    "application/x-pkcs7-mime": "smime",
}
"""How each kind is read. ``pieces``: only together with other mails, so never to be read to the end."""

_DATA = frozenset({"text/x-vcard", "text/vcard", "text/directory", "text/css", "text/csv", "text/javascript"})
"""Texts that clients don't show where they are attached."""

_ONE_BODY = frozenset({"multipart/alternative", "multipart/related"})
"""Their parts are shown whatever their disposition says."""

_HTML_FILES = (".htm", ".html", ".xhtml", ".shtml", ".svg")
MAX_LISTED = 1000
_WIDE = re.compile(rb"h\0t\0t\0p\0", re.IGNORECASE)
_URL = re.compile(rb"https?://[!-;=?-Z\[\]_a-z~]{3,2000}", re.IGNORECASE)


def body_kind(part: Part) -> BodyKind | None:
    """How a leaf is read; None for what holds no link that a mail client would make clickable."""
    kind = _KINDS.get(part.type.kind)
    attached = part.disposition == "attachment" and part.parent not in ("", *_ONE_BODY)
    if kind == "html":
        return "opaque" if attached and (part.file_name or part.number > 1) else "html"
    if kind is not None:
        return kind
    is_text = part.type.kind.startswith(("text/", "message/"))  # reports (RFC 3464, 6533), messages not taken apart
    if part.file_name.endswith(_HTML_FILES) and (attached or not is_text):
        return "opaque"
    if part.type.kind in _DATA and attached:
        return None
    whole = part.type.kind.startswith("multipart/")  # what was not taken apart
    return "text" if whole or is_text else None


def rewrite_text_of(kind: BodyKind, text: Text, part: Part, protect: Protect, options: Options) -> BodyResult:
    """Hand a decoded body to its rewriter."""
    if kind == "html":
        return rewrite_html(text.text, part=part.path, protect=protect, options=options, encoding=text.query_encoding)
    if kind == "calendar":
        return rewrite_calendar(text.text, part=part.path, protect=protect, options=options)
    parameters = part.type.parameters
    flowed = parameters.get("format", "").lower() == "flowed"
    delsp = flowed and parameters.get("delsp", "").lower() == "yes"
    return rewrite_text(text.text, part=part.path, protect=protect, options=options, flowed=flowed, delsp=delsp)


def list_urls(content: bytes, path: str) -> list[Row]:
    """The URLs inside something that we cannot edit, each once: ``not_coverable``."""
    found: dict[str, Row] = {}
    if _WIDE.search(content):
        content += b" " + content.replace(b"\0", b"")
    for match in _URL.finditer(content):
        spelt = match.group().decode("ascii").rstrip(".,;:!?')]")
        try:
            url = serialise(spelt)
        except BadUrl:
            url = spelt
        if url not in found and len(found) < MAX_LISTED:
            text = "" if spelt == url else spelt
            found[url] = Row(path, Kind.ATTACHMENT, url, Outcome.NOT_COVERABLE, "not_coverable", text)
    return list(found.values())
