"""Transfer encodings (RFC 2045): decoding with a map back to the encoded bytes, and splicing edits into them. Pure.

Tolerant as mail clients are: trailing blanks, comments and case in the name, blanks before a soft break, data after base64
padding, characters outside the alphabet.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.edit import Edit, apply

MAX_QP_LINE = 76
"""RFC 2045, 6.7 (5), without the line break."""

MAX_LINE = 998
"""RFC 5322, 2.1.1, without CRLF."""

_QP = re.compile(rb"=[ \t]*+(?:\r\n|\n|\r)|=([0-9A-Fa-f]{2})|[ \t]++(?=\r?\n|\r|\Z)|=")
_ESCAPED = re.compile(rb"=[0-9A-Fa-f]{2}")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_NEWLINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Decoded:
    """`content`: decoded bytes of `raw`; `places`: (decoded offset, raw offset) of stretches that map one to one."""

    encoding: str
    raw: bytes
    content: bytes
    places: tuple[tuple[int, int], ...] = ((0, 0),)


def encoding_name(field: str) -> str:
    """The name in a Content-Transfer-Encoding field: without comments and blanks, lower case; unknown ones: ``7bit``."""
    name = re.sub(r"\([^)]*\)", " ", field).strip().strip("\"'").lower().partition(";")[0].strip()
    name = {"quoted_printable": "quoted-printable", "quotedprintable": "quoted-printable", "base-64": "base64"}.get(
        name, name
    )
    return name if name in ("base64", "quoted-printable") else "7bit"


def decode(raw: bytes, encoding: str) -> Decoded:
    """`encoding` is a name of `encoding_name`."""
    if encoding == "quoted-printable":
        return _decode_qp(raw)
    if encoding == "base64":
        return Decoded(encoding, raw, decode_base64(raw))
    return Decoded(encoding, raw, raw)


def _decode_qp(raw: bytes) -> Decoded:
    pieces: list[bytes] = []
    places = [(0, 0)]
    length = place = 0
    for found in _QP.finditer(raw):
        before = raw[place : found.start()]
        pieces.append(before)
        length += len(before)
        text = found.group(1)
        new = bytes((int(text, 16),)) if text is not None else (b"=" if found.group() == b"=" else b"")
        if new:
            places.append((length, found.start()))
            pieces.append(new)
            length += 1
        place = found.end()
        places.append((length, place))
    pieces.append(raw[place:])
    return Decoded("quoted-printable", raw, b"".join(pieces), tuple(places))


def decode_base64(raw: bytes) -> bytes:
    """Every run up to a padding decoded by itself, as clients that do not stop at the first padding do."""
    clean = _NOT_BASE64.sub(b"", raw)
    if clean.endswith(b"=") or b"=" in clean:
        return b"".join(_run(part) for part in re.split(rb"=+", clean))
    return _run(clean)


def _run(text: bytes) -> bytes:
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4)) if text else b""


def splice(decoded: Decoded, edits: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    """Edits of the encoded bytes for edits of the decoded ones. Only what is edited changes, where the encoding allows."""
    if not edits:
        return []
    if decoded.encoding == "base64":
        content = apply(decoded.content, edits)
        return [Edit(0, len(decoded.raw), encode_base64(content, decoded.raw))]
    if decoded.encoding == "quoted-printable":
        return _splice_qp(decoded, edits)
    return list(edits)


def encode_base64(content: bytes, like: bytes) -> bytes:
    """Base64 with the line length and the line ending of `like`, and its last line's ending."""
    newline = _NEWLINE.search(like)
    ending = newline.group() if newline else b"\r\n"
    width = (newline.start() if newline and newline.start() >= 4 else MAX_QP_LINE) // 4 * 4
    width = min(width, 996)
    text = binascii.b2a_base64(content, newline=False)
    lines = [text[place : place + width] for place in range(0, len(text), width)]
    tail = re.search(rb"(?:\r\n|\n|\r)*\Z", like)
    return ending.join(lines) + (tail.group() if tail else b"")


def _splice_qp(decoded: Decoded, edits: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    raw = decoded.raw
    newline = _NEWLINE.search(raw)
    ending = newline.group() if newline else b"\r\n"
    found: list[Edit[bytes]] = []
    column_shift: tuple[int, int] = (-1, 0)  # (line start in raw, column reached behind the last edit in that line)
    for edit in edits:
        start = _raw_offset(decoded.places, edit.start)
        end = start if edit.end == edit.start else max(start, _raw_end(decoded, edit.end))
        line = max(raw.rfind(b"\n", 0, start), raw.rfind(b"\r", 0, start)) + 1
        previous = found[-1].end if found else 0
        column = column_shift[1] + start - previous if column_shift[0] == line else start - line
        after = _NEWLINE.search(raw, end)
        tail = raw[end : after.start() if after else len(raw)]
        new, column = _qp_text(edit.new, column, len(tail), ending)
        found.append(Edit(start, end, new))
        line_end = max(raw.rfind(b"\n", 0, end), raw.rfind(b"\r", 0, end)) + 1
        column_shift = (line_end, column)
    return found


def _qp_text(new: bytes, column: int, tail: int, ending: bytes) -> tuple[bytes, int]:
    """`new` in quoted-printable, broken so that no line is over 76; and the column behind it."""
    out: list[bytes] = []
    for byte in new:
        unit = bytes((byte,)) if 33 <= byte <= 126 and byte != 0x3D else b"=%02X" % byte
        if byte == 0x20:
            unit = b" "
        if column + len(unit) > MAX_QP_LINE - 1:
            out.append(b"=" + ending)
            column = 0
        out.append(unit)
        column += len(unit)
    if column + tail > MAX_QP_LINE and tail:
        out.append(b"=" + ending)
        column = 0
    return b"".join(out), column


def encode_qp(content: bytes, ending: bytes) -> bytes:
    """A whole body in quoted-printable, for parts whose own encoding cannot hold the edited lines."""
    lines = []
    for line in _NEWLINE.split(content):
        text, _ = _qp_text(line, 0, 0, ending)
        if text[-1:] in (b" ", b"\t"):
            text = text[:-1] + b"=%02X" % text[-1]
        lines.append(text)
    return ending.join(lines)


def has_long_line(raw: bytes) -> bool:
    """Whether a line has over 998 octets."""
    return len(raw) > MAX_LINE and any(len(line) > MAX_LINE for line in _NEWLINE.split(raw))


def _raw_offset(places: Sequence[tuple[int, int]], offset: int) -> int:
    """Where the decoded byte at `offset` begins in the raw text."""
    decoded, raw = places[bisect_right(places, (offset, 1 << 62)) - 1]
    return raw + offset - decoded


def _raw_end(decoded: Decoded, offset: int) -> int:
    """Where the decoded byte before `offset` ends in the raw text."""
    places = decoded.places
    start, raw = places[bisect_right(places, (offset - 1, 1 << 62)) - 1]
    begin = raw + offset - 1 - start
    return begin + 3 if _ESCAPED.match(decoded.raw, begin) else begin + 1
