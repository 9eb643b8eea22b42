"""Header fields of a raw message: finding, adding, removing; and the facts for the record in readable form. Pure.

Fields are never re-serialised. Subjects and names are read as mail really is: RFC 2047 also where an encoded word was split
inside a character, raw UTF-8, the body's charset, detection.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import getaddresses
from typing import NamedTuple

from rewriter import charset
from rewriter.edit import Edit
from rewriter.transfer import decode_base64

MAX_HEADER = 1_000_000
"""Bytes of header that are looked at."""

MBOX = (b"From ", b">From ")
"""How the first line of a message begins that came out of an mbox file."""

_END = re.compile(rb"(?:\n|\r(?!\n))(\r\n|\n|\r)")
_EMPTY_LINES = (b"\n\r", b"\n\n", b"\r\r")
_WINDOW = 4096
"""Bytes of a header that are searched at a time: most headers end within them."""
_NEWLINE = re.compile(rb"\r\n|\n|\r")
_LINE_END = rb"(?:\r\n|\n|\r|\Z)"
_FIELD = re.compile(
    rb"(?:([!-9;-~]++)[ \t]*+:([^\r\n]*+(?:(?:\r\n|\n|\r)[ \t][^\r\n]*+)*+)" + _LINE_END + rb")|[^\r\n]*+" + _LINE_END
)
"""A field, or a line that is none."""
_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(=\?)")
_FOLD = re.compile(r"\r?\n[ \t]|\r[ \t]")
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")


class Field(NamedTuple):
    """raw[start:end] is the whole field with its line ending; `name` in lower case; `value` raw, folded."""

    name: str
    value: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded of a message. `subject_raw`: the field's bytes as they came."""

    message_id: str
    sender: str
    sender_name: str
    recipients: tuple[str, ...]
    subject: str
    subject_raw: bytes
    date: str


def body_start(raw: bytes, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """(end of the header, start of the body) of the entity in raw[start:end]."""
    end = len(raw) if end is None else end
    if raw[start : start + 2] == b"\r\n":
        return start, start + 2
    if raw[start : start + 1] in (b"\n", b"\r"):
        return start, start + 1
    found = _END.match(raw, _empty_line(raw, start, end), end)
    return (found.start(1), found.end()) if found else (end, end)


def _empty_line(raw: bytes, start: int, end: int) -> int:
    """Where the line break before the first empty line stands; `end` where there is none."""
    while start < end:
        stop = min(start + _WINDOW, end)
        first = stop
        for mark in _EMPTY_LINES:
            place = raw.find(mark, start, first)
            first = place + 1 if place >= 0 else first
        if first < stop:
            return first - 1
        start = stop if stop == end else stop - 1  # a mark may lie across the border
    return end


def fields(raw: bytes, start: int = 0, end: int | None = None) -> list[Field]:
    """The fields of raw[start:end], which is a header without the empty line behind it. Lines that are none are skipped."""
    end = len(raw) if end is None else end
    found = []
    for match in _FIELD.finditer(raw, start, end):
        name, value = match.groups()
        if name:
            found.append(Field(name.decode("ascii").lower(), value, *match.span()))
    return found


def field(raw: bytes, name: str) -> list[bytes]:
    """The raw values of every field with this name."""
    head, _ = body_start(raw)
    return [item.value for item in fields(raw, 0, head) if item.name == name.lower()]


def remove_fields(raw: bytes, names: Collection[str]) -> bytes:
    """`raw` without the fields of these names (lower case)."""
    head, _ = body_start(raw)
    lower = raw[:head].lower()
    if not any(name.encode() in lower for name in names):
        return raw
    doomed = [item for item in fields(raw, 0, head) if item.name in names]
    if not doomed:
        return raw
    pieces = []
    place = 0
    for item in doomed:
        pieces.append(raw[place : item.start])
        place = item.end
    pieces.append(raw[place:])
    return b"".join(pieces)


def field_edit(raw: bytes, name: str, value: bytes) -> Edit[bytes]:
    """The edit that puts one more field on top (below the line of an mbox), folded at 76, in the message's line ending."""
    first = _NEWLINE.search(raw) if raw.startswith(MBOX) else None
    top = first.end() if first else 0
    if raw[top : top + 1] in (b" ", b"\t"):  # it would become a part of our field
        head, _ = body_start(raw)
        top = next((item.start for item in fields(raw, top, head)), head)
    ending = line_ending(raw)
    if ending == b"\r" and raw.startswith(b"\n", top):  # they would become one
        ending = b"\n"
    width = 74 - len(name)
    lines = [value[:width]] + [value[place : place + 74] for place in range(width, len(value), 74)]
    return Edit(top, top, name.encode() + b": " + (ending + b" ").join(lines) + ending)


def line_ending(raw: bytes) -> bytes:
    """The first line ending of a message, CRLF where there is none."""
    found = _NEWLINE.search(raw, 0, 100_000)
    return found.group() if found else b"\r\n"


def facts(raw: bytes, body_charset: str = "") -> Facts:
    """What is recorded of a message. Never raises."""
    head, _ = body_start(raw)
    found: dict[str, bytes] = {}
    for item in fields(raw, 0, min(head, MAX_HEADER)):
        found.setdefault(item.name, item.value)
    senders = addresses(readable(found.get("from", b"") or found.get("sender", b""), body_charset))
    named = ",".join(readable(found.get(name, b""), body_charset) for name in ("to", "cc") if name in found)
    subject = found.get("subject", b"").strip(b" \t")
    return Facts(
        message_id=readable(found.get("message-id", b""), "").strip(),
        sender=senders[0][1] if senders else "",
        sender_name=senders[0][0] if senders else "",
        recipients=tuple(address for _, address in addresses(named)),
        subject=readable(subject, body_charset).strip(),
        subject_raw=subject,
        date=readable(found.get("date", b""), "").strip(),
    )


def addresses(text: str) -> list[tuple[str, str]]:
    """(name, address) pairs; an empty list where the field is beyond reading."""
    try:
        return [(name, address) for name, address in getaddresses([text[:100_000]]) if "@" in address]
    except (ValueError, IndexError, RecursionError):
        return []


def readable(value: bytes, body_charset: str = "") -> str:
    """A field's value as a person should see it: unfolded, encoded words decoded, without control characters."""
    text = _raw_text(value, body_charset)
    text = _FOLD.sub(" ", text)
    if "=?" in text:
        text = _decode_words(_BETWEEN_WORDS.sub(r"\1\2", text))
    return "".join(c if c.isprintable() or c == " " else " " for c in text.replace("\t", " "))


def _raw_text(value: bytes, body_charset: str) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    return charset.decode(value, body_charset).text


def _decode_words(text: str) -> str:
    """Adjacent words of one charset are joined as bytes first: many senders split inside a character."""
    pieces: list[str] = []
    place = 0
    pending: tuple[str, bytes] = ("", b"")
    for found in _WORD.finditer(text):
        label, kind, encoded = found.groups()
        content = _word_bytes(kind.lower(), encoded)
        if found.start() > place or (pending[0] and pending[0] != label.lower()):
            pieces.append(_word_text(pending))
            pending = ("", b"")
        pieces.append(text[place : found.start()])
        pending = (label.lower(), pending[1] + content)
        place = found.end()
    pieces.append(_word_text(pending))
    pieces.append(text[place:])
    return "".join(pieces)


def _word_text(word: tuple[str, bytes]) -> str:
    label, content = word
    return charset.decode(content, label).text if content else ""


def _word_bytes(kind: str, encoded: str) -> bytes:
    raw = encoded.encode("utf-8", "replace")
    if kind == "b":
        try:
            return decode_base64(raw)
        except binascii.Error:
            return raw
    return _Q_ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), raw.replace(b"_", b" "))
