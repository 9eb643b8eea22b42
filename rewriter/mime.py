"""The parts of a message with their exact places, as mail clients split it. Pure; knows no link and no charset.

Iterative, so that ten thousand nested parts are a list and not a stack overflow; every delimiter line is looked up once, so
that they are linear, too. Where clients differ, the view decides, and remembers that there was a choice.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.content_type import ContentType, content_type
from rewriter.headers import MBOX, Field, body_start, fields, readable
from rewriter.readings import Doubt, View
from rewriter.transfer import encoding_name, is_exact_name

MAX_OPENED = 100_000
"""Parts that are looked at one by one; what comes behind them is one part, over the limits."""

MAX_NESTING = 500
"""Depth to which multiparts are opened at all. Outlook stops at 100, others earlier."""

MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})

_NO_LF = re.compile(rb"\n(\r?\n)")
_BLANK_ENDS = (b" \r", b" \n", b"\t\r", b"\t\n")
_BLANK_LINE = re.compile(rb"(?:\n|\r(?!\n))([ \t]+(?:\r\n|\n|\r))")
_LINE = re.compile(rb"[^\r\n]{0,998}")
_BREAK = re.compile(rb"\r\n|\n|\r|\Z")
_LONGEST_FAMILY = 1000
_STEP = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf: raw[start:end] is its encoded body, raw[head[0]:head[1]] its header.

    path:        ``1.2``; no longer than the limits on depth
    disposition: ``attachment``, ``inline`` or none, lower case
    file_name:   lower case, empty where there is none
    over:        deeper or later than the limits allow: not to be trusted, only neutralised
    parent:      kind of the multipart around it; `number`: its place there, from 1
    """

    path: str
    type: ContentType
    encoding: str
    disposition: str
    start: int
    end: int
    head: tuple[int, int] = (0, 0)
    fields: tuple[Field, ...] = ()
    file_name: str = ""
    over: bool = False
    parent: str = ""
    number: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A multipart: raw[start:end] is its body. `children`: the extents of its parts, headers included."""

    path: str
    type: ContentType
    start: int
    end: int
    children: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Limits:
    parts: int
    depth: int


@dataclass(frozen=True, slots=True)
class _Open:
    path: str
    start: int
    end: int
    depth: int = 0
    default: str = "text/plain"
    parent: str = ""
    number: int = 1
    type: ContentType | None = None  # known from elsewhere; then there is no header


class Delimiters:
    """The lines that begin with two hyphens, found in one go."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._places: dict[bytes, list[int]] = {}
        for start in _lines(raw):
            found = _LINE.match(raw, start + 2)
            text = found.group().rstrip(b" \t") if found else b""
            self._places.setdefault(text, []).append(start)
        self._texts = sorted(self._places)

    def of(self, boundary: bytes, start: int, end: int, view: View) -> list[tuple[int, bool]]:
        """The delimiter lines of `boundary` within raw[start:end], ascending: (place, is the closing one)."""
        found = [(place, False) for place in self._within(boundary, start, end)]
        found += [(place, True) for place in self._within(boundary + b"--", start, end)]
        first = bisect_left(self._texts, boundary)
        for text in self._texts[first : first + _LONGEST_FAMILY]:
            if not text.startswith(boundary):
                break
            if text not in (boundary, boundary + b"--") and (longer := self._within(text, start, end)):
                if not view.doubt(Doubt.LONGER):
                    break
                found += [(place, text.startswith(boundary + b"--")) for place in longer]
        return sorted(found)

    def first(self, start: int, end: int) -> bytes:
        """The text of the first such line within raw[start:end]; empty where there is none."""
        place = self._raw.find(b"\n--", max(0, start - 1), end)
        found = _LINE.match(self._raw, place + 3) if place >= 0 else None
        return found.group().rstrip(b" \t") if found else b""

    def _within(self, text: bytes, start: int, end: int) -> list[int]:
        places = self._places.get(text, [])
        return places[bisect_left(places, start) : bisect_left(places, end)]


def _lines(raw: bytes) -> Iterator[int]:
    """Where a line begins with two hyphens. Base64 has none: looking for a single one first passes it by ten times faster."""
    if raw.startswith(b"--"):
        yield 0
    place = raw.find(b"-")
    while place >= 0:
        end = place + _STEP
        start = max(place - 1, 0)
        for found in sorted(_marked(raw, b"\n--", start, end) + _marked(raw, b"\r--", start, end)):
            yield found + 1
        place = raw.find(b"-", end - 1)


def _marked(raw: bytes, mark: bytes, start: int, end: int) -> list[int]:
    found = []
    place = raw.find(mark, start, end)
    while place >= 0:
        found.append(place)
        place = raw.find(mark, place + 1, end)
    return found


def parts(
    raw: bytes, limits: Limits, path: str = "1", view: View | None = None, top: ContentType | None = None
) -> Iterator[Part | Group]:
    """Every leaf in order, and each multipart before its parts. `top`: type of a body that has no header."""
    view = view or View()
    delimiters: Delimiters | None = None
    waiting = [_Open(path, 0, len(raw), type=top)]
    count = 0
    while waiting:
        entity = waiting.pop()
        count += 1
        if count == MAX_OPENED:
            yield Part(path, ContentType("text/plain", {}), "7bit", "", entity.start, len(raw), over=True)
            return
        part = _entity(raw, entity, view, over=count > limits.parts or entity.depth > limits.depth)
        if part.type.kind.startswith("multipart/") and entity.depth < MAX_NESTING:
            delimiters = delimiters or Delimiters(raw)
            children = _children(raw, part, delimiters, view)
            if children:
                yield Group(part.path, part.type, part.start, part.end, tuple(children))
                waiting += _opened(entity, part, children, limits)
                continue
        if part.type.kind in MESSAGES and part.encoding == "7bit" and entity.depth < MAX_NESTING:
            inner = part.path if entity.depth > limits.depth else f"{part.path}.1"
            waiting.append(_Open(inner, part.start, part.end, entity.depth + 1))
            continue
        yield part


def _opened(entity: _Open, part: Part, children: list[tuple[int, int]], limits: Limits) -> list[_Open]:
    """The children to be read next, the first one on top."""
    default = "message/rfc822" if part.type.kind == "multipart/digest" else "text/plain"
    deep = entity.depth > limits.depth
    return [
        _Open(
            path=entity.path if deep else f"{entity.path}.{number}",
            start=start,
            end=end,
            depth=entity.depth + 1,
            default=default,
            parent=part.type.kind,
            number=number,
        )
        for number, (start, end) in reversed(list(enumerate(children, 1)))
    ]


def _entity(raw: bytes, entity: _Open, view: View, *, over: bool) -> Part:
    """Header and body of one entity, not yet split."""
    if entity.type is not None:
        return Part(entity.path, entity.type, "7bit", "", entity.start, entity.end, over=over)
    head_end, start, found = _header(raw, entity.start, entity.end, view)
    given = _value(found, "content-disposition", view)
    disposition = content_type("x/x;" + given.partition(";")[2], view=view).parameters if given else {}
    kind = content_type(_value(found, "content-type", view), entity.default, view)
    encoding = _value(found, "content-transfer-encoding", view)
    name = encoding_name(encoding)
    # A dot is no letter of base64: some clients show a body with one as it stands, for others it is but a sign to skip.
    unsure = name != "7bit" and (
        not is_exact_name(encoding) or (name == "base64" and raw.find(b".", start, entity.end) >= 0)
    )
    if unsure and view.doubt(Doubt.ENCODING):
        name = "7bit"
    return Part(
        path=entity.path,
        type=kind,
        encoding=name,
        disposition=given.partition(";")[0].strip().lower(),
        start=start,
        end=entity.end,
        head=(entity.start, head_end),
        fields=found,
        file_name=(disposition.get("filename") or kind.parameters.get("name", "")).strip().lower(),
        over=over,
        parent=entity.parent,
        number=entity.number,
    )


def _header(raw: bytes, start: int, end: int, view: View) -> tuple[int, int, tuple[Field, ...]]:
    """(end of the header, start of the body, fields), by the line ends and the odd lines that the view believes in."""
    head, body = body_start(raw, start, end)
    if head == start:
        return head, body, ()
    if raw.count(b"\r", start, body) != raw.count(b"\r\n", start, body) and view.doubt(Doubt.LINE_END):
        only = _NO_LF.search(raw, start, end)
        head, body = (only.start(1), only.end()) if only else (end, end)
    blank = None
    if any(raw.find(mark, start, head) >= 0 for mark in _BLANK_ENDS):  # few headers have a line that ends with a blank
        blank = _BLANK_LINE.search(raw, start, head)
    if blank and view.doubt(Doubt.BLANK_LINE):
        head, body = blank.start(1), blank.end()
    found = tuple(fields(raw, start, head))
    odd = _odd_line(raw, start, head, found)
    if odd is not None and view.doubt(Doubt.ODD_LINE):
        return odd, odd, tuple(item for item in found if item.start < odd)
    return head, body, found


def _odd_line(raw: bytes, start: int, end: int, found: tuple[Field, ...]) -> int | None:
    """Where in a header the first line stands that belongs to no field; not the one of an mbox on top."""
    place = start
    if raw.startswith(MBOX, start):
        place = found[0].start if found else end
    for item in found:
        if item.start > place:
            return place
        place = item.end
    return place if place < end else None


def _children(raw: bytes, part: Part, delimiters: Delimiters, view: View) -> list[tuple[int, int]]:
    """The extents of a multipart's parts (RFC 2046, 5.1.1)."""
    boundary = part.type.parameters.get("boundary", "").rstrip()
    if "=?" in boundary and view.doubt(Doubt.ENCODED_WORD):
        boundary = readable(boundary.encode("utf-8", "replace"))
    lines = delimiters.of(boundary.encode("utf-8", "surrogateescape"), part.start, part.end, view) if boundary else []
    if not lines:
        guess = delimiters.first(part.start, part.end)
        if not guess or view.doubt(Doubt.BOUNDARY):
            return []
        lines = delimiters.of(guess, part.start, part.end, view)
    return _extents(raw, part, lines, view)


def _extents(raw: bytes, part: Part, lines: list[tuple[int, bool]], view: View) -> list[tuple[int, int]]:
    """What stands between the delimiter lines; the line break before a delimiter belongs to it."""
    extents: list[tuple[int, int]] = []
    opened = -1
    for place, (start, closing) in enumerate(lines):
        if opened >= 0:
            extents.append((opened, _without_break(raw, opened, start)))
        if closing:
            opened = -1
            if place + 1 == len(lines) or not view.doubt(Doubt.CLOSED):
                return extents
            continue
        found = _BREAK.search(raw, start, part.end)
        opened = found.end() if found else part.end
    if opened >= 0:
        extents.append((opened, part.end))  # never closed: clients show the rest
    return extents


def _without_break(raw: bytes, start: int, end: int) -> int:
    if end - 2 >= start and raw[end - 2 : end] == b"\r\n":
        return end - 2
    return end - 1 if end - 1 >= start and raw[end - 1 : end] in (b"\n", b"\r") else end


def _value(found: tuple[Field, ...], name: str, view: View) -> str:
    """The field's value, unfolded by its reader; of several different ones that which the view takes."""
    values = [item.value for item in found if item.name == name]
    if not values:
        return ""
    last = len(set(values)) > 1 and view.doubt(Doubt.FIELD)
    return values[-1 if last else 0].decode("utf-8", "replace")
