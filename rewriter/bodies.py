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

BodyKind = Literal["html", "text", "calendar", "opaque"]

_HTML = frozenset({"text/html", "application/xhtml+xml", "text/x-amp-html", "text/xhtml", "application/html"})
_CALENDAR = frozenset({"text/calendar", "text/x-vcalendar", "application/ics"})
_OPAQUE = frozenset(
    {
        "application/ms-tnef", "application/vnd.ms-tnef", "application/rtf", "text/rtf", "application/x-rtf", "image/svg+xml",
        "application/xml", "text/xml",
    }
)  # fmt: skip
_NOT_TEXT = frozenset({"text/x-vcard", "text/vcard", "text/directory", "text/css", "text/csv", "text/javascript"})
_SHOWN_AS_TEXT = frozenset({"message/delivery-status", "message/disposition-notification", "message/rfc822-headers"})
MAX_LISTED = 1000
_URL = re.compile(rb"https?://[!-;=?-Z\[\]_a-z~]{3,2000}", re.IGNORECASE)


def body_kind(part: Part) -> BodyKind | None:
    """How a leaf is read; None for what holds no link that a mail client would make clickable."""
    kind = part.type.kind
    attached = part.disposition == "attachment"
    if kind in _HTML:
        return "opaque" if attached and part.inside else "html"
    if kind in _CALENDAR:
        return "calendar"
    if kind in _OPAQUE or _is_html_file(part):
        return "opaque"
    if kind.startswith("text/") or kind in (
        "message/delivery-status",
        "message/disposition-notification",
        "message/rfc822-headers",
    ):
        return None if kind in _NOT_TEXT and attached else "text"
    return None


def _is_html_file(part: Part) -> bool:
    name = part.type.parameters.get("name", "").lower()
    return name.endswith((".htm", ".html", ".xhtml", ".shtml", ".svg"))


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
    for match in _URL.finditer(content):
        spelt = match.group().decode("ascii").rstrip(".,;:!?')]")
        try:
            url = serialise(spelt)
        except BadUrl:
            url = spelt
        if url not in found and len(found) < MAX_LISTED:
            found[url] = Row(
                path, Kind.ATTACHMENT, url, Outcome.NOT_COVERABLE, "not_coverable", "" if spelt == url else spelt
            )
    return list(found.values())
