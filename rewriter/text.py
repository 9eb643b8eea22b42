"""URLs in running text: finds them, and replaces them by ours. Knows text; knows no MIME, no charset, no key.

`find` is for any text (the HTML rewriter asks it too); `rewrite_text` is for a text/plain body. The rules, in the
reader's words: docs/text-boundary.md. Everything is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.edit import Edit
from rewriter.options import Bare, Options
from rewriter.receipt import BodyResult, Row, row_of
from rewriter.text_boundary import Walker
from rewriter.text_host import MAX_HOST, Hosts, known_suffix, port_end
from rewriter.text_joined import Joined, hidden, join, merge, soft_breaks
from rewriter.text_lines import break_lines
from rewriter.text_schemes import dangerous, shares
from toc.errors import BadUrl
from toc.link import Kind, Link, Neutralise, Protect, Sealed
from toc.url import serialise

_WWW_DOT = r"(?<=[wW][wW][wW]\.)"
_TLD = r"(?:[^\W\d_]{2,63}|[xX][nN]--[A-Za-z0-9-]{2,59})"
_DOT = {
    Bare.OFF: re.compile(rf"\.{_WWW_DOT}"),
    Bare.PATH: re.compile(rf"\.(?:{_WWW_DOT}|{_TLD}(?::\d{{1,5}})?/)"),
    Bare.ALL: re.compile(rf"\.(?:{_WWW_DOT}|{_TLD})"),
}
_SLASHES = re.compile(r"[/\\]*")
_BEFORE_SCHEME = frozenset("@+")
_BEFORE_WWW = frozenset("@+.-")
_KEPT_SCHEME = re.compile(r"(?:ftps?|sftp|wss?|ssh|git|svn|ldaps?|irc)://\Z", re.IGNORECASE)
_ANGLE = re.compile(r"[^<>＜＞\s]+(?:[ \t]*\r?\n[ \t]*(?![>\s])[^<>＜＞\s]+)*(?=[ \t]*(?:\r?\n[ \t]*)?[>＞])")
_ANGLE_OPEN = re.compile(r"[<＜](?:[uU][rR][lL]:[ \t]*)?\Z")
_BEFORE_ANGLE = frozenset("<＜:")
_EASY = re.compile(
    r"([A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++)(?:[/?#][A-Za-z0-9\-._~%/?#&=+@:$]*+)?+(?<=[A-Za-z0-9/=-])(?=[\s\"]|\Z)"
)
"""Most URLs: a host of letters, digits and hyphens, signs that no rule speaks of, and a space or a quote behind."""

_LINE_BREAK = re.compile(r"[ \t]*\r?\n[ \t]*")
_LIVE = re.compile(r"(https?)(?=://)|(www)(?=\.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A URL in text.

    start, end: where it stands in the text, in characters
    url:        serialised as a browser would (`toc.url.serialise`)
    text:       its spelling, without line breaks and zero-width characters that a client drops
    other:      the other reading where its end was a guess, serialised
    implied:    the scheme was not spelt
    """

    start: int
    end: int
    url: str
    text: str
    other: str | None
    implied: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of text that is a URL: where it starts, where host and port end, where it ends, in both readings."""

    start: int
    tail: int
    end: int
    other: int | None
    implied: bool
    angle: bool = False


@dataclass(frozen=True, slots=True)
class _Readers:
    """What goes through one text from left to right."""

    hosts: Hosts
    walker: Walker


def find(text: str, bare: Bare = Bare.PATH) -> list[Found]:
    """Every http(s) URL in `text` that a client would make clickable, ascending, not overlapping. Never raises."""
    if "." not in text and ":" not in text:
        return []
    drops = hidden(text)
    return _find_joined(text, join(text, drops), bare) if drops else _find_plain(text, bare)


def rewrite_text(
    source: str,
    *,
    part: str,
    protect: Protect,
    options: Options,
    flowed: bool = False,
    delsp: bool = False,
    line_limit: int = 998,
) -> BodyResult:
    """The edits that replace each link of a text/plain body by what `protect` says.

    flowed, delsp: parameters of the part's Content-Type (RFC 3676)
    line_limit:    characters of a line, without its end, beyond which a line is broken at a space
    """
    if flowed and delsp and (breaks := soft_breaks(source)):
        found = _find_joined(source, join(source, merge(breaks, hidden(source))), options.bare)
    else:
        found = find(source, options.bare)
    edits: list[Edit[str]] = []
    rows: list[Row] = []
    for item in found:
        link = Link(url=item.url, kind=Kind.TEXT, text=item.text, other=item.other, implied=item.implied, in_text=True)
        fate = protect(link)
        rows.append(row_of(part, Kind.TEXT, item.url, item.text, fate))
        if isinstance(fate, Sealed):
            edits.append(Edit(item.start, item.end, fate.link))
        elif isinstance(fate, Neutralise):
            edits.extend(defang(source, item))
    if schemes := [item for item in dangerous(source) if not _inside(item.colon, found)]:
        rows.extend(row_of(part, Kind.TEXT, item.text, item.text, Neutralise("scheme_dangerous")) for item in schemes)
        edits.extend(Edit(item.colon, item.colon + 1, "[:]") for item in schemes)
    if paths := [item for item in shares(source) if not _inside(item.start, found)]:
        rows.extend(row_of(part, Kind.TEXT, item.text, item.text, Neutralise("unc_path")) for item in paths)
        edits.extend(Edit(item.start, item.colon, "[" + source[item.start : item.colon] + "]") for item in paths)
    if schemes or paths:
        edits.sort(key=lambda edit: edit.start)
    return BodyResult(tuple(break_lines(source, edits, line_limit, flowed=flowed, delsp=flowed and delsp)), tuple(rows))


def _inside(position: int, found: list[Found]) -> bool:
    index = bisect_right(found, position, key=lambda item: item.start)
    return index > 0 and position < found[index - 1].end


def defang(source: str, item: Found) -> list[Edit[str]]:
    """Edits that make `item` unfollowable and leave it readable: ``hxxp://www[.]example[.]com``.

    The dots of the host are broken too, as clients make ``www.example.com`` and ``example.com/path`` clickable by
    themselves; so is every further URL inside it.
    """
    edits: list[Edit[str]] = []
    spelt = source[item.start : item.end]
    live = {match.start(): match for match in _LIVE.finditer(spelt)}
    if not item.implied and 0 not in live:  # zero-width characters in the scheme
        colon = spelt.index(":")
        edits.append(Edit(item.start, item.start + colon, "hxxps" if item.url.startswith("https") else "hxxp"))
    border = spelt.find("/", 0 if item.implied else spelt.index("/") + 2)
    host_end_at = border if border >= 0 else len(spelt)
    dots = {match.start() for match in re.finditer(r"\.", spelt[:host_end_at])}
    for at in sorted(dots | live.keys()):
        match = live.get(at)
        if match is None:
            edits.append(Edit(item.start + at, item.start + at + 1, "[.]"))
        elif match.group(1):
            name = match.group(1)
            edits.append(Edit(item.start + at + 1, item.start + at + 3, "xx" if name[1] == "t" else "XX"))
        elif match.end() not in dots:
            edits.append(Edit(item.start + match.end(), item.start + match.end() + 1, "[.]"))
    return edits


def _find_plain(text: str, bare: Bare) -> list[Found]:
    found = []
    for span in _spans(text, bare):
        spelt = text[span.start : span.end]
        if span.angle:
            item = _angle(text, span, spelt)
        else:
            other = text[span.start : span.other] if span.other is not None else None
            item = _found(span, span.start, span.end, spelt, other)
        if item is not None:
            found.append(item)
    return found


def _found(span: _Span, start: int, end: int, spelt: str, other: str | None) -> Found | None:
    """The URL spelt `spelt` that stands at `start`..`end` of the source; None where no browser would visit it."""
    prefix = "http://" if span.implied else ""
    url = _http(prefix + spelt)
    if url is None:
        return None
    second = _http(prefix + other) if other is not None else None
    return Found(start, end, url, spelt, None if second == url else second, span.implied)


def _http(spelt: str) -> str | None:
    try:
        return serialise(spelt)
    except BadUrl:
        return None


def _angle(text: str, span: _Span, spelt: str) -> Found | None:
    """A URL between angle brackets: line breaks are dropped (RFC 3986, appendix C)."""
    joined = _LINE_BREAK.sub("", spelt)
    return _found(span, span.start, span.end, joined, text[span.start : span.other])


def _find_joined(source: str, joined: Joined, bare: Bare) -> list[Found]:
    """URLs of `joined`, with their places in `source`. Where something was dropped inside one, the other reading is the
    URL as it stands before the first drop."""
    found = []
    for item in _find_plain(joined.text, bare):
        gap = joined.gap(item.start, item.end)
        other = item.other
        if gap is not None:
            cut = _find_plain(joined.text[item.start : gap], Bare.ALL)
            other = cut[0].url if cut and cut[0].start == 0 and cut[0].url != item.url else other
        start, end = joined.source(item.start), joined.source(item.end - 1) + 1
        found.append(Found(start, end, item.url, item.text, other, item.implied))
    return found


def _spans(text: str, bare: Bare) -> Iterator[_Span]:
    """All stretches of `text` that are URLs, ascending."""
    readers = _Readers(Hosts(text), Walker(text))
    search = _DOT[bare].search
    length = len(text)
    done = 0
    colon = text.find("://")
    dot = search(text)
    while colon >= 0 or dot:
        if colon >= 0 and (dot is None or colon < dot.start()):
            span = _at_scheme(text, colon, done, readers)
            done = span.end if span else colon + 3
        else:
            assert dot is not None
            at = dot.start()
            span = _at_www(text, at, done, readers)
            if span is None and dot.end() > at + 1:
                span = _at_bare(text, at, done, bare, readers)
            done = span.end if span else at + 1
        if span:
            yield span
        if 0 <= colon < done:
            colon = text.find("://", done)
        if dot and dot.start() < done:
            dot = search(text, done) if done < length else None


def _at_scheme(text: str, colon: int, done: int, readers: _Readers) -> _Span | None:
    """The URL whose ``://`` stands at `colon`."""
    word = text[max(done, colon - 5) : colon].lower()
    if word.endswith("http"):
        start = colon - 4
    elif word == "https":
        start = colon - 5
    else:
        return None
    if start and start > done and _glued(text[start - 1], _BEFORE_SCHEME):
        return None
    easy = _EASY.match(text, colon + 3)
    if easy and easy.end(1) - easy.start(1) <= MAX_HOST and (text[start - 1 : start] not in _BEFORE_ANGLE or not start):
        return _Span(start, easy.end(1), easy.end(), None, implied=False)
    slashes = _SLASHES.match(text, colon + 1)
    tail = readers.hosts.authority(slashes.end() if slashes else colon + 3)
    return None if tail is None else _whole(text, start, tail, readers.walker, implied=False)


def _at_www(text: str, dot: int, done: int, readers: _Readers) -> _Span | None:
    start = dot - 3
    if start < done or text[start:dot].lower() != "www":
        return None
    if start and (start > done or text[start - 1] == ".") and _glued(text[start - 1], _BEFORE_WWW):
        return None
    if text[start - 1 : start] == "/" and _KEPT_SCHEME.search(text, max(0, start - 8), start):
        return None
    end = readers.hosts.end(start, dots=2)
    return None if end is None else _whole(text, start, port_end(text, end), readers.walker, implied=True)


def _at_bare(text: str, dot: int, done: int, bare: Bare, readers: _Readers) -> _Span | None:
    if bare is Bare.OFF:
        return None
    start = readers.hosts.bare_start(dot)
    if start is None or start < done:
        return None
    end = readers.hosts.end(start, dots=1)
    if end is None or end <= dot or not known_suffix(text[start:end]):
        return None
    tail = port_end(text, end)
    following = text[tail : tail + 1]
    if following == "@" or (bare is Bare.PATH and following != "/"):
        return None
    return _whole(text, start, tail, readers.walker, implied=True)


def _glued(before: str, signs: frozenset[str]) -> bool:
    return (before.isascii() and before.isalnum()) or before in signs


def _whole(text: str, start: int, tail: int, walker: Walker, *, implied: bool) -> _Span:
    """The URL that starts at `start` and whose host and port end at `tail`."""
    found = walker.end(start, tail)
    if start and text[start - 1] in _BEFORE_ANGLE and _ANGLE_OPEN.search(text, max(0, start - 8), start):
        closed = _ANGLE.match(text, start)
        if closed and closed.end() > found.end:
            return _Span(start, tail, closed.end(), found.end, implied, angle=True)
    return _Span(start, tail, found.end, found.other, implied)
