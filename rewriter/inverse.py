"""The inverse edits of a rewriting, in the form that travels in a Toc-Restore field. Pure.

    deflate( SHA-256 of the rewritten body, SHA-256 of the original body, header field to put back, edits of the body )

Offsets count from the start of the body, as fields are added on top of a mail on its way. An edit: gap u32, length of the new
text u32, length of the old one u32, the old bytes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence

from rewriter.edit import Edit, apply, invert
from rewriter.headers import body_start, fields

_EDIT = struct.Struct(">III")
MAX_INFLATED = 400_000_000
_ENCODING = "content-transfer-encoding"


def record(original: bytes, rewritten: bytes, edits: Sequence[Edit[bytes]]) -> bytes:
    """What `restore` needs to give the original body back, and its Content-Transfer-Encoding field if that changed."""
    _, start = body_start(original)
    _, new_start = body_start(rewritten)
    body = [edit for edit in invert(original, sorted(edits, key=lambda e: (e.start, e.end))) if edit.start >= new_start]
    header = original[:start] if start != new_start or original[:start] != rewritten[:start] else b""
    old = _encoding_field(header)
    pieces = [hashlib.sha256(rewritten[new_start:]).digest(), hashlib.sha256(original[start:]).digest()]
    pieces += [struct.pack(">?H", bool(header), len(old)), old]
    place = new_start
    for edit in body:
        pieces.append(_EDIT.pack(edit.start - place, edit.end - edit.start, len(edit.new)) + edit.new)
        place = edit.end
    return zlib.compress(b"".join(pieces), 9)


def restore(raw: bytes, sealed: bytes) -> bytes | None:
    """The original for an untouched rewritten message; None where its body is another by now. `raw`: without our fields."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(sealed, MAX_INFLATED)
    head_end, start = body_start(raw)
    rewritten_hash, original_hash = data[:32], data[32:64]
    if hashlib.sha256(raw[start:]).digest() != rewritten_hash:
        return None
    changed, length = struct.unpack_from(">?H", data, 64)
    old = data[67 : 67 + length]
    body = apply(raw[start:], _edits(data, 67 + length))
    if hashlib.sha256(body).digest() != original_hash:
        return None
    return (_with_field(raw[:start], head_end, old) if changed else raw[:start]) + body


def _edits(data: bytes, place: int) -> list[Edit[bytes]]:
    found = []
    at = 0
    while place < len(data):
        gap, new, old = _EDIT.unpack_from(data, place)
        place += _EDIT.size
        found.append(Edit(at + gap, at + gap + new, data[place : place + old]))
        at += gap + new
        place += old
    return found


def _encoding_field(header: bytes) -> bytes:
    return next((header[item.start : item.end] for item in fields(header) if item.name == _ENCODING), b"")


def _with_field(header: bytes, end: int, old: bytes) -> bytes:
    """The header with its first Content-Transfer-Encoding replaced by `old` (empty: taken out)."""
    item = next((item for item in fields(header, 0, end) if item.name == _ENCODING), None)
    return header if item is None else header[: item.start] + old + header[item.end :]
