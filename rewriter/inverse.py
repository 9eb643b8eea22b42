"""What a Toc-Restore field holds: how to get from a rewritten mail to its original. Pure.

Much of it follows from the links themselves: `given` is what putting their targets back would change. Where that is not
the original it is written down: targets are serialised, and a mail may have spelt ``HTTP://Example.com``. A small record
holds everything, and the links are not asked.

    deflate( SHA-256 of the rewritten body, that of the original body, how the header goes back, and what with, changes )

Offsets count from the start of the body, as fields are added on top of a mail on its way. All numbers are big-endian u32. A
change: gap, length of what stands there; then 0, length and bytes of the old; or 1, count, and for the edits of the
decoded body gap, length of what stands there, length and bytes of the old each.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence

from rewriter.edit import Edit, apply, invert
from rewriter.headers import body_start, fields
from rewriter.transfer import Change, decode, encode

RESTORE_FIELD = "Toc-Restore"
OUR_FIELDS = frozenset({"toc-restore", "toc-result"})
MAX_INFLATED = 400_000_000
_ENCODING = "content-transfer-encoding"
_HASHES = 64
_HEAD = struct.Struct(">B?I")
"""How the header is put back, whether the links are asked, length of what the header needs."""

_CODES = {"base64": 1, "uuencode": 2}
_NAMES = {code: name for name, code in _CODES.items()}


def record(original: bytes, rewritten: bytes, made: Sequence[Change], given: Sequence[Change] | None) -> bytes:
    """`made`: the changes of `original`, ascending; `given`: those that its links alone would make in `rewritten`.

    None for `given`: the links are not asked, and everything is written down.
    """
    _, start = body_start(original)
    _, new_start = body_start(rewritten)
    wanted = [change for change in _inverted(original, rewritten, made) if change.edit.start >= new_start]
    rest = wanted
    if given is not None:
        rest = _difference(wanted, [change for change in given if change.edit.start >= new_start], rewritten)
    changed, old = _old_header(original[:start], rewritten[:new_start])
    pieces = [_hash(rewritten, new_start), _hash(original, start)]
    pieces += [_HEAD.pack(changed, given is not None, len(old)), old]
    place = new_start
    for change in rest:
        pieces.append(_packed(change, place))
        place = change.edit.end
    return zlib.compress(b"".join(pieces), 9)


def restore(raw: bytes, packed: bytes, given: Callable[[], list[Change]]) -> bytes | None:
    """The original for an untouched rewritten message; None where its body is another by now.

    raw: without our fields. Raises ValueError, zlib.error or struct.error where `packed` has another form.
    """
    data = zlib.decompressobj().decompress(packed, MAX_INFLATED)
    head_end, start = body_start(raw)
    if _hash(raw, start) != data[:32]:
        return None
    changed, by_links, length = _HEAD.unpack_from(data, _HASHES)
    place = _HASHES + _HEAD.size
    old = data[place : place + length]
    recorded = _unpacked(data, place + length, start)
    others = [change for change in given() if change.edit.start >= start] if by_links else []
    edits = _combined(recorded, others, raw)
    new = _HEADERS[changed](raw[:start], head_end, old)
    if new is None:
        return None
    header = Edit(0, start, new)
    original = apply(raw, [header, *edits])
    return original if _hash(original, len(header.new)) == data[32:_HASHES] else None


def belongs(raw: bytes, packed: bytes) -> bool:
    """Whether `packed` was made for the body that `raw`, which is without our fields, has now."""
    try:
        return zlib.decompressobj().decompress(packed, 32) == _hash(raw, body_start(raw)[1])
    except zlib.error:
        return False


def _hash(raw: bytes, start: int) -> bytes:
    return hashlib.sha256(memoryview(raw)[start:]).digest()


def _inverted(original: bytes, rewritten: bytes, made: Sequence[Change]) -> list[Change]:
    found = []
    for change, back in zip(made, invert(original, [change.edit for change in made]), strict=True):
        inner: tuple[Edit[bytes], ...] = ()
        if change.inner:
            content = decode(back.new, change.encoding).content
            if encode(content, change.encoding, rewritten[back.start : back.end]) == back.new:
                inner = tuple(invert(content, change.inner))
        found.append(Change(back, change.encoding if inner else "", inner))
    return found


def _difference(wanted: Sequence[Change], given: Sequence[Change], source: bytes) -> list[Change]:
    """What must be written down, so that together with `given` it makes `wanted`."""
    by_place = {(change.edit.start, change.edit.end): change for change in given}
    found = []
    for change in wanted:
        other = by_place.get((change.edit.start, change.edit.end))
        if other is not None and other.edit.new == change.edit.new:
            continue
        if other is not None and change.inner and other.inner:
            content = decode(source[change.edit.start : change.edit.end], change.encoding).content
            found.append(Change(change.edit, change.encoding, tuple(_edits_apart(change.inner, other.inner, content))))
        else:
            found.append(change)
    kept = _apart([change.edit for change in given], [change.edit for change in wanted])
    found += [Change(Edit(edit.start, edit.end, source[edit.start : edit.end])) for edit in kept]
    return sorted(found, key=lambda change: (change.edit.start, change.edit.end))


def _edits_apart(wanted: Sequence[Edit[bytes]], given: Sequence[Edit[bytes]], source: bytes) -> list[Edit[bytes]]:
    known = set(given)
    found = [edit for edit in wanted if edit not in known]
    found += [Edit(edit.start, edit.end, source[edit.start : edit.end]) for edit in _apart(given, wanted)]
    return sorted(found, key=lambda edit: (edit.start, edit.end))


def _combined(recorded: Sequence[Change], given: Sequence[Change], source: bytes) -> list[Edit[bytes]]:
    """What is recorded counts; what the links give, where nothing else is recorded."""
    by_place = {(change.edit.start, change.edit.end): change for change in given}
    edits = _apart([change.edit for change in given], [change.edit for change in recorded])
    for change in recorded:
        if not change.inner:
            edits.append(change.edit)
            continue
        start, end = change.edit.start, change.edit.end
        other = by_place.get((start, end))
        inner = [*change.inner, *(_apart(other.inner, change.inner) if other else ())]
        raw = source[start:end]
        content = apply(decode(raw, change.encoding).content, sorted(inner, key=lambda edit: (edit.start, edit.end)))
        edits.append(Edit(start, end, encode(content, change.encoding, raw)))
    return sorted(edits, key=lambda edit: (edit.start, edit.end))


def _apart(edits: Sequence[Edit[bytes]], others: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    """Those `edits` that touch none of `others`; both ascending."""
    found = []
    place = 0
    for edit in edits:
        while place < len(others) and others[place].end < edit.start:
            place += 1
        if not any(_touch(edit, other) for other in others[place : place + 4]):
            found.append(edit)
    return found


def _touch(one: Edit[bytes], other: Edit[bytes]) -> bool:
    same = (one.start, one.end) == (other.start, other.end)
    return same or (one.start < other.end and other.start < one.end)


def _packed(change: Change, place: int) -> bytes:
    edit = change.edit
    head = struct.pack(">II", edit.start - place, edit.end - edit.start)
    if not change.inner:
        return head + struct.pack(">II", 0, len(edit.new)) + edit.new
    pieces = [head, struct.pack(">II", _CODES[change.encoding], len(change.inner))]
    at = 0
    for inner in change.inner:
        pieces.append(struct.pack(">III", inner.start - at, inner.end - inner.start, len(inner.new)) + inner.new)
        at = inner.end
    return b"".join(pieces)


def _unpacked(data: bytes, place: int, at: int) -> list[Change]:
    found = []
    while place < len(data):
        gap, length, code, count = struct.unpack_from(">IIII", data, place)
        place += 16
        start, at = at + gap, at + gap + length
        if not code:
            found.append(Change(Edit(start, at, data[place : place + count])))
            place += count
            continue
        inner: list[Edit[bytes]] = []
        inside = 0
        for _ in range(count):
            gap, length, old = struct.unpack_from(">III", data, place)
            place += 12
            inner.append(Edit(inside + gap, inside + gap + length, data[place : place + old]))
            inside += gap + length
            place += old
        found.append(Change(Edit(start, at, b""), _NAMES.get(code, "base64"), tuple(inner)))
    return found


def _old_header(old: bytes, new: bytes) -> tuple[int, bytes]:
    """How to put the header back: not at all, its Content-Transfer-Encoding alone, or as a whole."""
    if old == new:
        return 0, b""
    field = next((old[item.start : item.end] for item in fields(old) if item.name == _ENCODING), b"")
    if _with_field(new, body_start(new)[0], field) == old:
        return 1, field
    return 2, hashlib.sha256(new).digest() + struct.pack(">I", len(new)) + old


def _same(header: bytes, _end: int, _old: bytes) -> bytes:
    return header


def _with_field(header: bytes, end: int, old: bytes) -> bytes:
    """The header with its first Content-Transfer-Encoding replaced by `old` (empty: taken out)."""
    item = next((item for item in fields(header, 0, end) if item.name == _ENCODING), None)
    return header if item is None else header[: item.start] + old + header[item.end :]


def _whole(header: bytes, _end: int, old: bytes) -> bytes | None:
    """The old header below the fields that were put on top on the way; None where it is not the one that we know."""
    place = len(header) - int.from_bytes(old[32:36], "big")
    if place < 0 or hashlib.sha256(header[place:]).digest() != old[:32]:
        return None
    return header[:place] + old[36:]


_HEADERS: dict[int, Callable[[bytes, int, bytes], bytes | None]] = {0: _same, 1: _with_field, 2: _whole}
