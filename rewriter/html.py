"""HTML in, edits out: every navigable link asked about and spliced, and the output proven by another parser. Pure.

    source ─▶ places ─▶ links ─▶ protect ─▶ edits ─▶ verified by lexbor ─▶ (if in doubt: neutralised, verified by html5lib)

Only values are replaced and anchors inserted; no tag is ever written anew. The new text is ASCII, so that it fits any charset.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import unquote

from rewriter.edit import Edit, apply
from rewriter.html_links import Anchor, Found, Place, Text, anchor_text, find_places
from rewriter.html_references import attribute_value, text_value
from rewriter.html_scan import Attribute
from rewriter.html_verify import by_html5lib, by_lexbor, foreign_left
from rewriter.options import Options
from rewriter.receipt import BodyResult, Row, row_of
from rewriter.skip import scheme_fate
from rewriter.text import find
from toc.errors import BadUrl, TooLarge
from toc.link import Fate, Keep, Kind, Link, Neutralise, Protect
from toc.link import Sealed as Replaced
from toc.url import parse, serialise

DEAD = "about:invalid"
"""Leads nowhere in every client; an empty value or ``#`` would be a link to the base."""

NOWHERE = "file:///"
"""A base against which nothing becomes a link: what is relative to it is neutralised."""

SECOND_JUDGE_LIMIT = 200_000
"""Characters up to which a body whose tree depends on the parser's age is shown to the slow parser too: a second at most."""

MAX_COMPARED = 20_000_000
"""Pairs of attributes that a parser may have to compare: 0.03 s (lexbor, measured). 4,500 attributes of one tag count as many."""

CLIP = 100_000
"""Webmail cuts a longer HTML part off (Gmail: 102 KB)."""

OPEN_TAG = '<a href="{}" style="color:inherit;text-decoration:inherit">'
CLOSE_TAG = "</a>"

_MARKS = ("http", "www.", "href", "action", "refresh", "src", "data", "&#", "&c", "&t", "&n", "&s", "&p")
_HOST_AND_PATH = re.compile(r"\.[a-z\u0080-\U0010ffff][\w\-]++(?::\d++)?/")
_MAY_SHOW_HOST = re.compile(r"[.&]")
_HTTP = re.compile(r"https?:", re.IGNORECASE)
_HOST_ONLY = re.compile(r"[/\\][\t\n\r]*[/\\]")
"""``//host``, which takes its scheme from the page around it."""

_ABSOLUTE = re.compile(r"(?:(?:https?|file):|(?=[/\\][/\\]))[/\\]*[^/\\?#]*", re.IGNORECASE)
"""The beginning up to the end of the host."""

_BASE = re.compile(r"https?:|file://(?:[^/]|//)")
"""A base whose relatives lead away: to the web, or to a stranger's share."""

_TAB_OR_NEWLINE = str.maketrans("", "", "\t\n\r")
_SPACES = re.compile(r"\s+[\u0300-\u036f]*")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that a host is read without (UTS #46, "ignored")."""

_STRIP = "".join(map(chr, range(0x21)))
_URL_LIKE = re.compile(
    r"\s*(?:https?://)?((?:[a-z0-9\-\u0080-\U0010ffff]+\.)+[a-z\u0080-\U0010ffff][a-z0-9\-\u0080-\U0010ffff]*)(?=[:/?#\s]|\Z)",
    re.IGNORECASE,
)
_QUOTABLE = re.compile(r"[A-Za-z0-9._~:/?&=%+\-]*\Z")


def rewrite_html(source: str, *, part: str, protect: Protect, options: Options, encoding: str = "utf-8") -> BodyResult:
    """Rewrite one HTML body.

    encoding: the document's charset, in which browsers encode queries, as in `toc.query_encoding`
    """
    if not _may_hold_link(source):
        return BodyResult()
    found = find_places(source)
    work = _Work(source, part, protect, options, encoding, found)
    work.run()
    return _verified(source, work)  # where the scan finds nothing, too: it might have missed the only link


def _may_hold_link(source: str) -> bool:
    """False only where no link can be. Looked for one by one: a pattern of all marks costs more than to read the document."""
    if "href" in source:
        return True
    lower = source.lower()
    return any(mark in lower for mark in _MARKS) or _HOST_AND_PATH.search(lower) is not None


class _Work:
    """One body on its way: the edits and rows so far, and which targets may stand in the output."""

    def __init__(self, source: str, part: str, protect: Protect, options: Options, encoding: str, found: Found) -> None:
        self.source = source
        self.edits: list[Edit[str]] = []
        self.rows: list[Row] = []
        self._placed: list[tuple[int, Row]] = []
        self.allowed: set[str] = set()
        self._part = part
        self._protect = protect
        self._options = options
        self._encoding = encoding
        self._found = found
        self._base = _base(found, encoding)
        self.ambiguous = found.ambiguous and len(source) <= SECOND_JUDGE_LIMIT
        self.readable = found.compared <= MAX_COMPARED and not found.torn
        self._fates: dict[Link, Fate] = {}
        self._shown: dict[int, str] = {}

    def run(self) -> None:
        for place in self._found.places:
            self._place(place)
        for text in self._found.texts:
            self._text(text)
        for attribute in self._found.frames:
            if attribute.end > attribute.start:
                self._note(attribute.start, Kind.FRAME, "srcdoc", "srcdoc", Neutralise("frame"))
                self._empty(attribute)
        self.edits.sort(key=lambda edit: (edit.start, edit.end))
        self.rows = [row for _, row in sorted(self._placed, key=lambda item: item[0])]

    def _note(self, at: int, kind: Kind, url: str, text: str, fate: Fate) -> None:
        self._placed.append((at, row_of(self._part, kind, url, text, fate)))

    def _place(self, place: Place) -> None:
        value = place.value.strip(_STRIP)
        if self._base is None and (not value or value.startswith("#")):
            return
        fate, url = (Neutralise("bad_url"), value) if place.closed else self._fate(place, value)
        self._note(place.attribute.start, place.kind, url, value, fate)
        if isinstance(fate, Keep):
            self.allowed.add(url)
            if not value.isascii():
                self._allow_in_utf8(value)
        elif isinstance(fate, Replaced):
            self.allowed.add(fate.link)
            self._write(place, fate.link)
        elif place.kind is Kind.REFRESH:  # one that leads nowhere would still take the mail out of sight
            self._empty(place.attribute)
        else:
            self._write(place, DEAD)

    def _allow_in_utf8(self, value: str) -> None:
        """The judges know no charset: they see the query of a kept link so."""
        with suppress(BadUrl):
            self.allowed.add(serialise(value, self._base))

    def _fate(self, place: Place, value: str) -> tuple[Fate, str]:
        """What becomes of a place, and the URL for its row."""
        try:
            href = serialise(value, self._base, self._encoding)
        except BadUrl:
            return self._unresolved(place, value)
        scheme = href.partition(":")[0]
        if scheme not in ("http", "https"):
            return scheme_fate(scheme, href), href
        if place.kind is Kind.FRAME:
            return Neutralise("frame"), href
        differs = place.anchor is not None and self._differs(place.anchor, href)
        return self._ask(Link(href, place.kind, value, differs=differs)), href

    def _unresolved(self, place: Place, value: str) -> tuple[Fate, str]:
        """No absolute URL. ``//host`` becomes one on any page; ``\\\\host`` is a share of Windows."""
        if value.startswith("\\\\"):
            return Neutralise("unc_path"), value
        if _HOST_ONLY.match(value):
            try:
                href = serialise("https:" + value, None, self._encoding)
            except BadUrl:
                return (Neutralise("bad_url") if _leads_away_in_chromium(value) else Keep("not_a_url")), value
            if place.kind is Kind.FRAME:
                return Neutralise("frame"), href
            return self._ask(Link(href, place.kind, value, implied=True)), href
        if _leads_away_in_chromium(value):
            return Neutralise("bad_url"), value
        return Keep("not_a_url" if _HTTP.match(value) else "relative"), value

    def _ask(self, link: Link) -> Fate:
        """A link that stands in a mail twice is asked about once."""
        fate = self._fates.get(link)
        if fate is None:
            fate = self._fates[link] = self._protect(link)
        return fate

    def _differs(self, anchor: Anchor, href: str) -> bool:
        """Whether the visible text is itself a URL or host, and another one."""
        shown = self._shown.get(anchor.start)  # by many links, where an anchor is never closed
        if shown is None:
            shown = self._shown[anchor.start] = _shown_host(self.source, anchor)
        try:
            return shown != "" and parse(f"http://{shown}/").domain != parse(href).domain
        except BadUrl:
            return False

    def _write(self, place: Place, link: str) -> None:
        attribute = place.attribute
        new = link if _QUOTABLE.match(link) else link.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#39;")
        start, end = attribute.start, attribute.end
        if place.part is not None:
            first, last = place.part
            raw = self.source[start:end]
            if raw == attribute_value(raw):
                start, end = start + first, start + last
            else:
                new = f"0;url={new}"
        elif not attribute.quote and end == start:
            new = f'"{new}"' if attribute.assigned else f'="{new}"'
        self.edits.append(Edit(start, end, new))

    def _empty(self, attribute: Attribute) -> None:
        """Without quotes, nothing in place of a value would make a value of the next attribute."""
        self.edits.append(Edit(attribute.start, attribute.end, "" if attribute.quote else '""'))

    def _text(self, text: Text) -> None:
        """Bare URLs that clients make clickable get an anchor of ours around them."""
        raw = self.source[text.start : text.end]
        decoded, places = text_value(raw, text.start)
        for item in find(decoded, self._options.bare):
            start, end = _source_offset(places, item.start), _source_offset(places, item.end)
            link = Link(item.url, Kind.TEXT, item.text, other=item.other, implied=item.implied, in_text=True)
            fate = self._ask(link)
            self._note(start, Kind.TEXT, item.url, item.text, fate)
            if isinstance(fate, Replaced):
                self.allowed.add(fate.link)
                self.edits.append(Edit(start, start, OPEN_TAG.format(fate.link)))
                self.edits.append(Edit(end, end, CLOSE_TAG))
            elif isinstance(fate, Keep):
                self.allowed.add(item.url)
            elif self.source[start : start + 4].lower() == "http":
                self.edits.append(Edit(start + 1, start + 3, "xx"))


def _shown_host(source: str, anchor: Anchor) -> str:
    """The host that an anchor's text begins with; empty where it shows none."""
    if _MAY_SHOW_HOST.search(source, anchor.start, anchor.end) is None:
        return ""
    shown = _URL_LIKE.match(anchor_text(source, anchor))
    return shown.group(1) if shown else ""


def _verified(source: str, work: _Work) -> BodyResult:
    """The result, if other parsers find nothing foreign in it."""
    try:
        if work.readable:
            return _judged(source, work)
    except TooLarge:
        pass
    return BodyResult(tuple(work.edits), tuple(work.rows), sound=False)


def _judged(source: str, work: _Work) -> BodyResult:
    output = apply(source, work.edits)
    notes: list[str] = []
    left = foreign_left(output, work.allowed, by_lexbor)
    sound = True
    if work.ambiguous or left:
        notes.append("second_judge")
    if work.ambiguous and not left:
        left = _second_opinion(output, work) or []
    if left:
        broken = _broken(source, work.edits, left)
        work.rows += [
            row_of(work.rows[0].part if work.rows else "1", Kind.A, value, value, Neutralise("verification"))
            for value in left
        ]
        work.edits = sorted([*work.edits, *broken], key=lambda edit: (edit.start, edit.end))
        output = apply(source, work.edits)
        sound = not foreign_left(output, work.allowed, by_lexbor) and _second_opinion(output, work) == []
    if len(source) <= CLIP < len(output):
        notes.append("grown_past_clip")
    return BodyResult(tuple(work.edits), tuple(work.rows), tuple(notes), sound)


def _second_opinion(output: str, work: _Work) -> list[str] | None:
    """What html5lib still sees; None where it fails, as it does on some documents that end in the middle of things."""
    try:
        return foreign_left(output, work.allowed, by_html5lib)
    except (AssertionError, AttributeError, LookupError, RecursionError, TooLarge, TypeError, ValueError):
        return None


def _broken(source: str, edits: Sequence[Edit[str]], left: Sequence[str]) -> list[Edit[str]]:
    """Edits that break each value that the first judge still sees, wherever it is spelt plainly: its scheme, or the slashes that
    it begins with."""
    taken = [(edit.start, edit.end) for edit in edits]
    found: dict[int, Edit[str]] = {}
    for value in (each.strip(_STRIP) for each in left):
        if value[:4].lower() == "http":
            first, last, new = 1, 3, "xx"
        elif _HOST_ONLY.match(value[:2]):
            first, last, new = 0, 2, "./"
        else:
            continue
        start = source.find(value)
        while start >= 0:
            at, end = start + first, start + last
            if (first or source[start - 1 : start] != ":") and not any(a < end and at < b for a, b in taken):
                found[start] = Edit(at, end, new)
            start = source.find(value, start + len(value))
    return list(found.values())


def _leads_away_in_chromium(value: str) -> bool:
    """Whether only its host keeps `value` from being a URL for the standard and for other browsers, but not for Chromium: that
    writes a space in a host as ``%20``, and reads the characters of an IPv6 address like those of a name."""
    value = value.translate(_TAB_OR_NEWLINE)
    found = _ABSOLUTE.match(value)
    if found is None:
        return False
    host = _UNSEEN.sub("", unicodedata.normalize("NFKC", unquote(found.group())))
    try:
        serialise(_SPACES.sub("x", host) + value[found.end() :], "https://x.example/")
    except BadUrl:
        return False
    return True


def _base(found: Found, encoding: str) -> str | None:
    """The document's base URL: the first of the web or of a share that a `base` gives, `NOWHERE` where Chromium alone reads it.

    For browsers the first `base` counts, whatever it says; but older ones drop one that stands in a `select`, or in another
    place where it doesn't belong, and go by the next.
    """
    for href in found.bases:
        spelt = href.strip(_STRIP)
        try:
            base = serialise("https:" + spelt if _HOST_ONLY.match(spelt) else spelt, None, encoding)
        except BadUrl:
            if _leads_away_in_chromium(spelt):
                return NOWHERE
            continue
        if _BASE.match(base):
            return base
    return None


def _source_offset(places: Sequence[tuple[int, int]], offset: int) -> int:
    decoded, source = places[bisect_right(places, (offset, 1 << 62)) - 1]
    return source + offset - decoded
