"""Links of a text/calendar part (RFC 5545). Knows content lines, folding and escapes; knows no MIME, no key.

Every property is looked at: one whose value is a URI as a whole, free text by the rules for text, X-ALT-DESC as HTML.
Links by which a calendar joins a meeting stay in structured properties, as clients read the meeting out of them. Edits
touch the URL alone, and fold what they insert at 75 octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewriter.edit import Edit
from rewriter.html import rewrite_html
from rewriter.options import Bare, Options
from rewriter.receipt import BodyResult, Row, row_of
from rewriter.skip import scheme_fate
from rewriter.text import Found, defang, find
from rewriter.text_joined import Joined, join
from toc.errors import BadUrl
from toc.link import Fate, Keep, Kind, Link, Neutralise, Protect, Sealed
from toc.url import Url, parse

LINE = 75
"""Octets of a line without its end (RFC 5545, 3.1)."""

_FOLD = re.compile(r"(?:\r\n|\n|\r)[ \t]")
_LINE_END = re.compile(r"[\r\n]")
_CONTENT_LINE = re.compile(r"[^\r\n]+")
_HEAD = re.compile(r'([A-Za-z0-9-]+)((?:;(?:"[^"]*"|[^":])*+)?):(?!(?<=(?i:http):)//|(?<=(?i:https):)//)')
"""Name, parameters and colon of a content line; the colon of a URL is none: many calendars have prose with bare line breaks."""

_ESCAPE = re.compile(r"\\(.)")
_WEB = re.compile(r"\s*(https?:.*\S)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,63}):(?=\S)")
_BINARY = re.compile(r";(?:VALUE=BINARY|ENCODING=BASE64)\b", re.IGNORECASE)
_HTML = re.compile(r";FMTTYPE=\"?text/html", re.IGNORECASE)
_IS_URI = re.compile(r";VALUE=\"?URI\b", re.IGNORECASE)

_URI_PROPERTIES = frozenset({"URL", "ATTACH", "CONFERENCE", "SOURCE", "TZURL", "LINK", "LOCATION", "STRUCTURED-DATA"})
"""Their value may be a URI as a whole (RFC 5545, 7986, 9253); LOCATION is one in practice."""

_PROSE = frozenset({"DESCRIPTION", "SUMMARY", "COMMENT", "CONTACT", "X-ALT-DESC"})
"""For people to read: a link in them is sealed even where it joins a meeting."""

_IDENTIFIERS = frozenset({"UID", "RELATED-TO", "PRODID", "TZID", "X-WR-RELCALID", "X-WR-TIMEZONE", "IMAGE", "DTSTAMP"})
"""Names, and pictures that are fetched: nobody follows them, and changing a UID would make another event of it."""

_MEETINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("teams.microsoft.com", re.compile(r"/l/meetup-join/[^/]+.*|/meet/[0-9]+")),
    ("teams.microsoft.us", re.compile(r"/l/meetup-join/[^/]+.*|/meet/[0-9]+")),
    ("teams.live.com", re.compile(r"/meet/[0-9]+")),
    ("zoom.us", re.compile(r"/(?:j|w|s)/[0-9]+|/my/[^/]+")),
    ("zoomgov.com", re.compile(r"/(?:j|w|s)/[0-9]+|/my/[^/]+")),
    ("webex.com", re.compile(r"/(?:[^/]+/)?j\.php|/(?:meet|join)/[^/]+|/wbxmjs/joinservice/.+")),
    ("meet.google.com", re.compile(r"/[a-z]{3}-[a-z]{4}-[a-z]{3}|/lookup/[a-z0-9]+")),
)
"""Host, by label suffix, and whole path of the links that join a meeting."""


@dataclass(frozen=True, slots=True)
class _Property:
    """One content line: its name, parameters and value with their places in the unfolded text."""

    name: str
    head: int
    parameters: str
    start: int
    value: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is asked about a link, and where the rows say that it stood."""

    part: str
    protect: Protect
    options: Options


def rewrite_calendar(source: str, *, part: str, protect: Protect, options: Options) -> BodyResult:
    """The edits that replace each link of a calendar by what `protect` says, folded at 75 octets."""
    unfolded = join(source, [match.span() for match in _FOLD.finditer(source)])
    asked = _Asked(part, protect, options)
    edits: list[Edit[str]] = []
    rows: list[Row] = []
    notes: list[str] = []
    sound = True
    for prop in _properties(unfolded.text):
        result = _rewrite_property(prop, asked)
        edits.extend(_to_source(unfolded, edit) for edit in result.edits)
        rows.extend(result.rows)
        notes.extend(result.notes)
        sound = sound and result.sound
    return BodyResult(tuple(_fold(source, edits)), tuple(rows), tuple(dict.fromkeys(notes)), sound)


def is_meeting(url: Url) -> bool:
    """Whether `url` joins a meeting of Teams, Zoom, Webex or Meet."""
    if url.scheme != "https" or url.userinfo or url.port:
        return False
    return any(
        (url.host == host or url.host.endswith("." + host)) and path.fullmatch(url.path) for host, path in _MEETINGS
    )


def _properties(text: str) -> Iterator[_Property]:
    """The content lines that may hold a URL."""
    for line in _CONTENT_LINE.finditer(text):
        head = _HEAD.match(text, line.start(), line.end())
        if head is None:  # not a content line: a client may show it all the same
            yield _Property("", line.start(), "", line.start(), line.group())
            continue
        yield _Property(head.group(1).upper(), head.start(2), head.group(2), head.end(), text[head.end() : line.end()])


def _rewrite_property(prop: _Property, asked: _Asked) -> BodyResult:
    """The edits of one property, over the unfolded text."""
    value = _rewrite_value(prop, asked)
    if "://" not in prop.parameters:
        return value
    # ALTREP, DIR: URIs in quotes
    head = _ask_all(prop, find(prop.parameters, Bare.OFF), prop.parameters, prop.head, asked)
    return BodyResult(head.edits + value.edits, head.rows + value.rows, value.notes, value.sound)


def _rewrite_value(prop: _Property, asked: _Asked) -> BodyResult:
    if prop.name in ("BEGIN", "END") or _BINARY.search(prop.parameters):
        return BodyResult()
    if prop.name == "X-ALT-DESC" and (not prop.parameters or _HTML.search(prop.parameters)):
        return _rewrite_html(prop, asked)
    whole = _whole(prop)
    found = [whole] if whole else list(_in_text(prop.value, asked.options.bare))
    http = _ask_all(prop, found, prop.value, prop.start, asked)
    other = _other_scheme(prop, asked)
    return BodyResult(other.edits + http.edits, other.rows + http.rows)


def _other_scheme(prop: _Property, asked: _Asked) -> BodyResult:
    """A URI of another scheme. LOCATION is mostly prose (``Zoom:https://…``): there only a dangerous one counts."""
    scheme = _SCHEME.match(prop.value)
    if prop.name not in _URI_PROPERTIES or scheme is None or scheme.group(1).lower() in ("http", "https"):
        return BodyResult()
    fate = scheme_fate(scheme.group(1).lower(), prop.value)
    dangerous = isinstance(fate, Neutralise)
    if prop.name == "LOCATION" and not dangerous:
        return BodyResult()
    at = prop.start + scheme.end(1)
    edits = (Edit(at, at + 1, "[:]"),) if dangerous else ()
    return BodyResult(edits, (row_of(asked.part, Kind.CALENDAR, prop.value, prop.value, fate),))


def _in_text(value: str, bare: Bare) -> Iterator[Found]:
    text = _unescape(value)
    for item in find(text.text, bare):
        start, end = text.source(item.start), text.source(item.end - 1) + 1
        yield Found(start, end, item.url, item.text, item.other, item.implied)


def _whole(prop: _Property) -> Found | None:
    """The URL that the value is as a whole."""
    if prop.name not in _URI_PROPERTIES and not prop.name.startswith("X-") and not _IS_URI.search(prop.parameters):
        return None
    match = _WEB.fullmatch(prop.value.rstrip())
    if match is None or (not _IS_URI.search(prop.parameters) and re.search(r"\s|\\[nN]", match.group(1))):
        return None
    spelt = match.group(1)
    try:
        url = parse(_ESCAPE.sub(r"\1", spelt))
    except BadUrl:
        return None
    return Found(match.start(1), match.end(1), url.href, spelt, None, implied=False)


def _unescape(value: str) -> Joined:
    r"""The value as text: ``\,`` is a comma, and ``\n`` a line end (as a blank and a line feed, to keep positions)."""
    if "\\" not in value:
        return join(value, [])
    signs = [match.start() for match in _ESCAPE.finditer(value) if match.group(1) not in "nN"]
    return join(_ESCAPE.sub(_same_length, value), [(at, at + 1) for at in signs])


def _same_length(match: re.Match[str]) -> str:
    return " \n" if match.group(1) in "nN" else match.group()


def _ask_all(prop: _Property, found: Sequence[Found], value: str, shift: int, asked: _Asked) -> BodyResult:
    """The fates of `found`, which stand in `value`; `value` begins at `shift` of the unfolded text."""
    edits: list[Edit[str]] = []
    rows: list[Row] = []
    for item in found:
        fate = _fate(prop, item, asked)
        rows.append(row_of(asked.part, Kind.CALENDAR, item.url, item.text, fate))
        if isinstance(fate, Sealed):
            edits.append(Edit(item.start + shift, item.end + shift, fate.link))
        elif isinstance(fate, Neutralise):
            edits.extend(Edit(e.start + shift, e.end + shift, e.new) for e in defang(value, item))
    return BodyResult(tuple(edits), tuple(rows))


def _fate(prop: _Property, item: Found, asked: _Asked) -> Fate:
    if prop.name in _IDENTIFIERS:
        return Keep("identifier")
    if prop.name not in _PROSE and is_meeting(parse(item.url)):
        return Keep("meeting")
    return asked.protect(
        Link(
            url=item.url,
            kind=Kind.CALENDAR,
            text=item.text,
            other=item.other,
            implied=item.implied,
            in_text=prop.name in _PROSE,
        )
    )


def _rewrite_html(prop: _Property, asked: _Asked) -> BodyResult:
    """X-ALT-DESC: a description as HTML, escaped as text."""
    text = _unescape(prop.value)
    result = rewrite_html(text.text, part=asked.part, protect=asked.protect, options=asked.options, encoding="utf-8")
    edits = []
    for edit in result.edits:
        start = text.source(edit.start) + prop.start
        end = text.source(edit.end - 1) + 1 + prop.start if edit.end > edit.start else start
        edits.append(Edit(start, end, _escape(edit.new)))
    return BodyResult(tuple(edits), result.rows, result.notes, result.sound)


def _escape(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", text).replace("\r\n", "\\n").replace("\n", "\\n")


def _to_source(unfolded: Joined, edit: Edit[str]) -> Edit[str]:
    start = unfolded.source(edit.start)
    end = unfolded.source(edit.end - 1) + 1 if edit.end > edit.start else start
    return Edit(start, end, edit.new)


def _fold(source: str, edits: Sequence[Edit[str]]) -> list[Edit[str]]:
    """`edits` with their new text folded, and a fold behind it where the rest of its line would not fit any more."""
    newline = "\r\n" if "\r\n" in source[:4096] else "\n"
    out: list[Edit[str]] = []
    at = column = 0
    for index, edit in enumerate(edits):
        column = _column(source, at, edit.start, column)
        new, column = _folded(edit.new, column, newline)
        at = edit.end
        limit = edits[index + 1].start if index + 1 < len(edits) else len(source)
        rest = _octets(source[at : _line_end(source, at, limit)])
        if rest and new and column + rest > LINE:
            new, column = new + newline + " ", 1
        out.append(Edit(edit.start, edit.end, new))
    return out


def _column(source: str, start: int, end: int, column: int) -> int:
    """Octets between the begin of the line and `end`, if there were `column` of them at `start`."""
    line = source.rfind("\n", start, end)
    return _octets(source[line + 1 : end]) if line >= 0 else column + _octets(source[start:end])


def _line_end(source: str, start: int, limit: int) -> int:
    match = _LINE_END.search(source, start, limit)
    return match.start() if match else limit


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _folded(new: str, column: int, newline: str) -> tuple[str, int]:
    """`new` (ASCII) with folds, and the octets of the line behind it."""
    pieces: list[str] = []
    position = 0
    while column + len(new) - position > LINE:
        room = max(0, LINE - column)
        pieces.append(new[position : position + room])
        position += room
        column = 1
    pieces.append(new[position:])
    return f"{newline} ".join(pieces), column + len(new) - position
