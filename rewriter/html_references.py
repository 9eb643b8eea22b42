"""Character references of HTML: decoding in attributes and in text, with a map of positions for text. Pure.

In an attribute ``&copy=1`` stays as it is, where `html.unescape` would make ``©=1`` of it (WHATWG, "named character
reference state"): a rewriter that decodes like text corrupts queries.
"""

from __future__ import annotations

import re
from html.entities import html5

_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]++)|([0-9]++));?+|([a-zA-Z][a-zA-Z0-9]*+;?+))")
_NOT_ENDED = re.compile(r"[=a-zA-Z0-9]")
_LONGEST = max(map(len, html5))

_NUMERIC = {
    0x80: 0x20AC, 0x82: 0x201A, 0x83: 0x0192, 0x84: 0x201E, 0x85: 0x2026, 0x86: 0x2020, 0x87: 0x2021, 0x88: 0x02C6,
    0x89: 0x2030, 0x8A: 0x0160, 0x8B: 0x2039, 0x8C: 0x0152, 0x8E: 0x017D, 0x91: 0x2018, 0x92: 0x2019, 0x93: 0x201C,
    0x94: 0x201D, 0x95: 0x2022, 0x96: 0x2013, 0x97: 0x2014, 0x98: 0x02DC, 0x99: 0x2122, 0x9A: 0x0161, 0x9B: 0x203A,
    0x9C: 0x0153, 0x9E: 0x017E, 0x9F: 0x0178,
}  # fmt: skip
"""Numbers that mean windows-1252 (WHATWG, "numeric character reference end state")."""


def attribute_value(raw: str) -> str:
    """The value that a browser sees for the source text of an attribute's value."""
    if "\r" in raw:
        raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in raw:
        raw = raw.replace("\0", "\ufffd")
    if "&" not in raw:
        return raw
    if raw.count("&") == raw.count("&amp;"):  # nearly every query is spelt so
        return raw.replace("&amp;", "&")
    pieces: list[str] = []
    place = 0
    for found in _REFERENCE.finditer(raw):
        character, end = _decoded(raw, found, in_attribute=True)
        if character is not None:
            pieces += (raw[place : found.start()], character)
            place = end
    pieces.append(raw[place:])
    return "".join(pieces)


def text_value(raw: str, start: int) -> tuple[str, list[tuple[int, int]]]:
    """Decoded text, and where it lies in the source.

    `start` is the source offset of `raw`. The second value lists (decoded offset, source offset) of each stretch that
    maps one to one, ascending; `source_offset` reads it.
    """
    if "&" not in raw:
        return raw, [(0, start)]
    pieces: list[str] = []
    places = [(0, start)]
    length = place = 0
    for found in _REFERENCE.finditer(raw):
        character, end = _decoded(raw, found, in_attribute=False)
        if character is None:
            continue
        before = raw[place : found.start()]
        pieces += (before, character)
        length += len(before)
        places.append((length, start + found.start()))
        length += len(character)
        places.append((length, start + end))
        place = end
    pieces.append(raw[place:])
    return "".join(pieces), places


def _decoded(raw: str, found: re.Match[str], *, in_attribute: bool) -> tuple[str | None, int]:
    """The character and the end of the reference in `raw`; None where it is no reference."""
    hexadecimal, decimal, name = found.groups()
    if name is None:
        return _number(int(hexadecimal, 16) if hexadecimal else int(decimal[:12])), found.end()
    start = found.start() + 1
    for length in range(min(len(name), _LONGEST), 1, -1):
        known = html5.get(name[:length])
        if known is None:
            continue
        end = start + length
        if in_attribute and name[length - 1] != ";" and _NOT_ENDED.match(raw, end):
            return None, end
        return known, end
    return None, found.end()


def _number(value: int) -> str:
    if value == 0 or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        return "\ufffd"
    return chr(_NUMERIC.get(value, value))
