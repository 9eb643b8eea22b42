"""Transfer encodings (RFC 2045): decoding with a map back to the encoded bytes, and splicing edits into them. Pure.

Tolerant as mail clients are: trailing blanks, comments and case in the name, blanks before a soft break, data after base64
padding, characters outside the alphabet, uuencode.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.edit import Edit, apply
from rewriter.readings import Doubt, View

MAX_QP_LINE = 76
"""RFC 2045, 6.7 (5), without the line break."""

MAX_LINE = 998
"""RFC 5322, 2.1.1, without CRLF."""

_NAMES = {
    "quoted-printable": "quoted-printable",
    "quoted_printable": "quoted-printable",
    "quotedprintable": "quoted-printable",
    "base64": "base64",
    "base-64": "base64",
    "uuencode": "uuencode",
    "x-uuencode": "uuencode",
    "x-uue": "uuencode",
    "uue": "uuencode",
}
WHOLE = frozenset({"base64", "uuencode"})
"""Encodings in which one edit moves everything behind it: the body is encoded anew."""

_COMMENT = re.compile(r"\([^()]*\)")
_QP = re.compile(rb"=[ \t]*+(?:\r\n|\n|\r)|=([0-9A-Fa-f]{2})|=")
_SOFT_BREAKS = re.compile(rb"(?:=[ \t]*+(?:\r\n|\n|\r))++")
_ODD_QP = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
_QP_UNSAFE = re.compile(rb"[^ -<>-~]")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_NEWLINE = re.compile(rb"\r\n|\n|\r")
_UU_BEGIN = re.compile(rb"begin [0-7]{3,4} [^\r\n]*(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Decoded:
    """`content`: the decoded bytes of `raw`. odd: whether its quoted-printable has escapes that RFC 2045 does not know."""

    encoding: str
    raw: bytes
    content: bytes
    odd: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One edit of a message. Where it encodes a whole body anew, `inner` are the edits of the decoded body."""

    edit: Edit[bytes]
    encoding: str = ""
    inner: tuple[Edit[bytes], ...] = ()


def encoding_name(field: str) -> str:
    """The name in a Content-Transfer-Encoding field: without comments and blanks, lower case; unknown ones: ``7bit``."""
    name = _COMMENT.sub(" ", field[:1000]).strip().strip("\"'").lower().partition(";")[0].strip()
    return _NAMES.get(name) or _NAMES.get(name.partition(" ")[0], "7bit")


def is_exact_name(field: str) -> bool:
    """Whether every client reads the name in this field as `encoding_name` does."""
    return field.strip().lower() in ("base64", "quoted-printable")


def decode(raw: bytes, encoding: str, view: View | None = None) -> Decoded:
    """`encoding` is a name of `encoding_name`."""
    if encoding == "quoted-printable":
        return _decode_qp(raw)
    if encoding == "base64":
        return Decoded(encoding, raw, decode_base64(raw, view))
    if encoding == "uuencode":
        return Decoded(encoding, raw, _decode_uu(raw))
    return Decoded(encoding, raw, raw)


def _decode_qp(raw: bytes) -> Decoded:
    if _ODD_QP.search(raw) is None:
        return Decoded("quoted-printable", raw, binascii.a2b_qp(raw) if b"=" in raw else raw)
    pieces: list[bytes] = []
    place = 0
    for found in _QP.finditer(raw):
        pieces.append(raw[place : found.start()])
        pieces.append(_qp_byte(found))
        place = found.end()
    pieces.append(raw[place:])
    return Decoded("quoted-printable", raw, b"".join(pieces), odd=True)


def _qp_byte(found: re.Match[bytes]) -> bytes:
    """What an escape stands for: a byte, nothing for a soft break, itself where it is broken (RFC 2045, 6.7)."""
    if found.group(1) is not None:
        return binascii.unhexlify(found.group(1))
    return b"=" if found.end() - found.start() == 1 else b""


def decode_base64(raw: bytes, view: View | None = None) -> bytes:
    """Every run up to a padding decoded by itself, as clients that do not stop at the first padding do."""
    clean = raw.translate(None, _NOT_BASE64)
    data = clean.rstrip(b"=")
    if b"=" not in data:
        return _run(data)
    if view is not None and view.doubt(Doubt.PADDING):
        return _run(data.replace(b"=", b""))
    return b"".join(map(_run, re.split(rb"=+", data)))


def _run(text: bytes) -> bytes:
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4)) if text else b""


def _decode_uu(raw: bytes) -> bytes:
    """The lines between ``begin`` and ``end``; lines that are broken are left out."""
    pieces = []
    begin = _UU_BEGIN.search(raw)
    for line in _NEWLINE.split(raw[begin.end() :] if begin else raw):
        if line == b"end":
            break
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            continue
    return b"".join(pieces)


def splice(decoded: Decoded, edits: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    """Edits of the encoded bytes for edits of the decoded ones. Only what is edited changes, where the encoding allows."""
    if not edits:
        return []
    if decoded.encoding in WHOLE:
        return [Edit(0, len(decoded.raw), encode(apply(decoded.content, edits), decoded.encoding, decoded.raw))]
    if decoded.encoding == "quoted-printable":
        return _splice_qp(decoded, edits)
    return list(edits)


def changes(start: int, decoded: Decoded, edits: Sequence[Edit[bytes]]) -> list[Change]:
    """The same as changes of the message in which ``decoded.raw`` begins at `start`."""
    spliced = [Edit(start + edit.start, start + edit.end, edit.new) for edit in splice(decoded, edits)]
    if decoded.encoding in WHOLE:
        return [Change(edit, decoded.encoding, tuple(edits)) for edit in spliced]
    return [Change(edit) for edit in spliced]


def encode(content: bytes, encoding: str, like: bytes) -> bytes:
    """A whole body in an encoding of `WHOLE`, laid out as `like` is: line length, line ending, end of the last line."""
    newline = _NEWLINE.search(like)
    ending = newline.group() if newline else b"\r\n"
    if encoding == "uuencode":
        return _encode_uu(content, like, ending)
    width = (newline.start() if newline and newline.start() >= 4 else MAX_QP_LINE) // 4 * 4
    width = min(width, MAX_LINE - 2)
    text = binascii.b2a_base64(content, newline=False)
    lines = [text[place : place + width] for place in range(0, len(text), width)]
    return ending.join(lines) + like[len(like.rstrip(b"\r\n")) :]


def _encode_uu(content: bytes, like: bytes, ending: bytes) -> bytes:
    begin = _UU_BEGIN.search(like)
    lines = [binascii.b2a_uu(content[place : place + 45])[:-1] for place in range(0, len(content), 45)]
    head = like[: begin.end()] if begin else b"begin 644 body" + ending
    return head + ending.join([*lines, b"`", b"end", b""])


def _splice_qp(decoded: Decoded, edits: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    raw = decoded.raw
    newline = _NEWLINE.search(raw)
    ending = newline.group() if newline else b"\r\n"
    places = _Places(decoded)
    found: list[Edit[bytes]] = []
    place = column = 0  # in raw, and in the line as it will be
    for edit in edits:
        start = places.start_of(edit.start)
        end = start if edit.end == edit.start else max(start, places.end_of(edit.end - 1))
        line = max(raw.rfind(b"\n", place, start), raw.rfind(b"\r", place, start))
        column = column + start - place if line < 0 else start - line - 1
        after = _NEWLINE.search(raw, end, end + MAX_QP_LINE + 1)
        tail = (after.start() if after else min(len(raw), end + MAX_QP_LINE + 1)) - end
        new, column = _qp_text(edit.new, column, tail, ending)
        found.append(Edit(start, end, new))
        place = end
    return found


class _Places:
    """Where decoded bytes stand in quoted-printable. Asked ascending.

    A place is at least as far behind the last one in the encoded bytes as in the decoded ones. To go so far, and then what
    is still missing, until nothing is, costs a look at every byte and a few steps; to go from escape to escape costs many.
    """

    def __init__(self, decoded: Decoded) -> None:
        self._source = decoded.raw
        self._odd = decoded.odd
        self._decoded = self._raw = 0

    def start_of(self, offset: int) -> int:
        """Where the decoded byte at `offset` begins: behind soft breaks."""
        place = self._behind_soft_breaks(self._raw)
        missing = offset - self._decoded
        while missing:
            ahead = self._behind_escape(place, place + missing)
            missing -= self._length(place, ahead)
            place = self._behind_soft_breaks(ahead)
        self._decoded, self._raw = offset, place
        return place

    def end_of(self, offset: int) -> int:
        """Where the decoded byte at `offset` ends."""
        start = self.start_of(offset)
        escape = _QP.match(self._source, start)
        return escape.end() if escape else start + 1

    def _behind_soft_breaks(self, place: int) -> int:
        found = _SOFT_BREAKS.match(self._source, place)
        return found.end() if found else place

    def _behind_escape(self, start: int, place: int) -> int:
        """`place`, or the end of the escape that it stands in."""
        first = start if self._odd else max(start, place - 2)  # only odd escapes are longer than three bytes
        last = self._source.rfind(b"=", first, place)
        escape = _QP.match(self._source, last) if last >= 0 else None
        return max(place, escape.end()) if escape else place

    def _length(self, start: int, end: int) -> int:
        """Decoded bytes between two places that stand in no escape."""
        source = self._source
        if self._odd:
            return len(_decode_qp(source[start:end]).content)
        return end - start - 2 * source.count(b"=", start, end) - source.count(b"=\r\n", start, end)


def _qp_text(new: bytes, column: int, tail: int, ending: bytes) -> tuple[bytes, int]:
    """`new` in quoted-printable, broken so that no line is over 76; and the column behind it."""
    text = _QP_UNSAFE.sub(lambda found: b"=%02X" % found.group()[0], new)
    if not tail and text.endswith(b" "):
        text = text[:-1] + b"=20"
    out: list[bytes] = []
    place = 0
    while column + len(text) - place > MAX_QP_LINE - 1:
        cut = max(place + MAX_QP_LINE - 1 - column, place)
        escape = text.rfind(b"=", max(cut - 2, place), cut)
        cut = escape if escape >= 0 else cut
        out += (text[place:cut], b"=" + ending)
        place, column = cut, 0
    out.append(text[place:])
    column += len(text) - place
    if tail and column + tail > MAX_QP_LINE:
        out.append(b"=" + ending)
        column = 0
    return b"".join(out), column


def encode_qp(content: bytes, ending: bytes) -> bytes:
    """A whole body in quoted-printable, for parts whose own encoding cannot hold the edited lines."""
    lines = []
    for line in _NEWLINE.split(content):
        text, _ = _qp_text(line, 0, 0, ending)
        if text[-1:] == b"\t":
            text = text[:-1] + b"=09"
        lines.append(text)
    return ending.join(lines)


def has_long_line(raw: bytes) -> bool:
    """Whether a line has over 998 octets. It looks at one line in about a thousand octets."""
    place = 0
    while place + MAX_LINE < len(raw):
        window = place + MAX_LINE + 1
        last = max(raw.rfind(b"\n", place, window), raw.rfind(b"\r", place, window))
        if last < 0:
            return True
        place = last + 1
    return False
