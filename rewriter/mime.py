"""The parts of a message with their exact places, as mail clients split it. Pure; knows no link and no charset.

Iterative, so that ten thousand nested parts are a list and not a stack overflow. Where clients differ, every reading is
followed: a second Content-Type field, a boundary that is missing or never closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from rewriter.headers import Field, body_start, fields
from rewriter.transfer import encoding_name

_COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)")
_PARAMETER = re.compile(r";\s*([^=;\s]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^;]*))")
_TYPE = re.compile(r"\s*([^\s/;,\"]+)\s*/\s*([^\s;,\"]+)")


@dataclass(frozen=True, slots=True)
class ContentType:
    """`kind`: ``text/html``, lower case; parameters with lower-case names, decoded (RFC 2231)."""

    kind: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf: raw[start:end] is its encoded body.

    path:  ``1.2``                     head: (start, end) of its header
    over:  deeper or later than the limits allow: not to be trusted, only neutralised
    inside: kinds of the multiparts around it, outermost first, each with its own id
    """

    path: str
    type: ContentType
    encoding: str
    disposition: str
    start: int
    end: int
    head: tuple[int, int]
    fields: tuple[Field, ...]
    over: bool = False
    inside: tuple[tuple[str, str], ...] = ()


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
    depth: int
    default: str
    inside: tuple[tuple[str, str], ...] = ()


def content_type(text: str, default: str = "text/plain") -> ContentType:
    """Read a Content-Type as clients do: comments dropped, broken types as `default`, parameters by RFC 2231."""
    clean = _COMMENT.sub(" ", text) if "(" in text else text
    found = _TYPE.match(clean)
    kind = f"{found.group(1)}/{found.group(2)}".lower() if found else default
    parameters: dict[str, str] = {}
    pieces: dict[str, dict[int, str]] = {}
    for name, quoted, plain in _PARAMETER.findall(text if '"' in text else clean):
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain.strip().strip("\"'")
        base, star, number = name.lower().partition("*")
        if not star:
            parameters.setdefault(base, value)
        else:
            digits = number.rstrip("*")
            place = int(digits[:4]) if digits.isascii() and digits.isdigit() else 0
            pieces.setdefault(base, {})[place] = _extended(value) if name.endswith("*") else value
    for base, parts in pieces.items():
        parameters.setdefault(base, "".join(parts[number] for number in sorted(parts)))
    return ContentType(kind, parameters)


def _extended(value: str) -> str:
    """``charset'language'percent-encoded`` (RFC 2231, 4)."""
    text = value.split("'", 2)[-1] if value.count("'") >= 2 else value
    return unquote_to_bytes(text).decode("utf-8", "replace")


def parts(raw: bytes, limits: Limits, path: str = "1") -> Iterator[Part | Group]:
    """Every leaf in order, and each multipart before its parts."""
    waiting = [_Open(path, 0, len(raw), 0, "text/plain")]
    count = 0
    while waiting:
        entity = waiting.pop()
        head_end, start = body_start(raw, entity.start, entity.end)
        found = tuple(fields(raw, entity.start, head_end))
        kind = _kind(found, entity.default)
        count += 1
        over = count > limits.parts or entity.depth > limits.depth
        boundary = kind.parameters.get("boundary", "").rstrip()
        if kind.kind.startswith("multipart/") and boundary and count < limits.parts * 20:
            children = _split(raw, start, entity.end, boundary)
            if children:
                yield Group(entity.path, kind, start, entity.end, tuple(children))
                waiting += _opened(entity, kind, children)
                continue
        if kind.kind in ("message/rfc822", "message/global", "message/news") and _encoding(found) == "7bit":
            waiting.append(_Open(f"{entity.path}.1", start, entity.end, entity.depth + 1, "text/plain", entity.inside))
            continue
        yield Part(
            path=entity.path,
            type=kind,
            encoding=_encoding(found),
            disposition=_value(found, "content-disposition").partition(";")[0].strip().lower(),
            start=start,
            end=entity.end,
            head=(entity.start, head_end),
            fields=found,
            over=over,
            inside=entity.inside,
        )


def _opened(entity: _Open, kind: ContentType, children: list[tuple[int, int]]) -> list[_Open]:
    """The children to be read next, the first one on top."""
    default = "message/rfc822" if kind.kind == "multipart/digest" else "text/plain"
    inside = (*entity.inside, (kind.kind, entity.path))
    return [
        _Open(f"{entity.path}.{number}", start, end, entity.depth + 1, default, inside)
        for number, (start, end) in reversed(list(enumerate(children, 1)))
    ]


def _split(raw: bytes, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
    """The extents between the delimiter lines (RFC 2046, 5.1.1); the line break before a delimiter belongs to it."""
    mark = re.escape(boundary.encode("utf-8", "surrogateescape"))
    line = re.compile(rb"(?:\A|(?<=\n)|(?<=\r))--" + mark + rb"(--)?+[ \t]*+(?:\r\n|\n|\r|\Z)")
    extents: list[tuple[int, int]] = []
    opened = -1
    for found in line.finditer(raw, start, end):
        if found.start() < start:
            continue
        if opened >= 0:
            extents.append((opened, _without_break(raw, opened, found.start())))
        opened = found.end()
        if found.group(1):
            return extents
    if opened >= 0:
        extents.append((opened, end))  # never closed: clients show the rest
    return extents


def _without_break(raw: bytes, start: int, end: int) -> int:
    if end - 2 >= start and raw[end - 2 : end] == b"\r\n":
        return end - 2
    return end - 1 if end - 1 >= start and raw[end - 1 : end] in (b"\n", b"\r") else end


def _kind(found: tuple[Field, ...], default: str) -> ContentType:
    """The first Content-Type; where it is no multipart and a second one is, clients differ: the multipart is read."""
    kinds = [
        content_type(item.value.decode("utf-8", "replace"), default) for item in found if item.name == "content-type"
    ]
    if not kinds:
        return ContentType(default, {})
    return next((kind for kind in kinds if kind.kind.startswith("multipart/")), kinds[0])


def _encoding(found: tuple[Field, ...]) -> str:
    return encoding_name(_value(found, "content-transfer-encoding"))


def _value(found: tuple[Field, ...], name: str) -> str:
    return next((item.value.decode("utf-8", "replace") for item in found if item.name == name), "")
