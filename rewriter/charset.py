"""From bytes to text and back to byte offsets: which charset a body is really in. Pure; knows no link.

BOM, then the label by the WHATWG table, then a `meta`, then UTF-8 if it decodes, then detection, then windows-1252. Python's
own codec names are never asked: 70 of them (cp037, utf-7, rot13, …) would read what no client reads.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

import webencodings
from charset_normalizer import from_bytes

from rewriter.edit import Edit

SAMPLE = 65_536
"""Bytes that detection looks at: it takes 0.2 s for 1 MB with one bad byte."""

CODECS: dict[str, tuple[str, ...]] = {
    "shift_jis": ("cp932", "shift_jis_2004"),
    "euc-jp": ("euc_jp", "euc_jis_2004"),
    "iso-2022-jp": ("iso2022_jp_ext", "iso2022_jp_2004", "iso2022_jp_3"),
    "gbk": ("gb18030",),
    "gb18030": ("gb18030",),
    "big5": ("big5hkscs", "cp950"),
    "euc-kr": ("cp949",),
    "x-user-defined": ("latin-1",),
    "iso-8859-8-i": ("iso8859_8",),
}
"""WHATWG name → codecs that mail in this charset really needs, tried in order; other names are their own codec."""

EXTRA_LABELS = {
    "iso-2022-jp-1": "iso-2022-jp", "iso-2022-jp-2": "iso-2022-jp", "iso-2022-jp-3": "iso-2022-jp", "cp50220": "iso-2022-jp",
    "iso-2022-jp-ms": "iso-2022-jp", "eucjp-win": "euc-jp", "cp51932": "euc-jp", "eucjp-ms": "euc-jp", "cp932": "shift_jis",
    "sjis-win": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "cp950": "big5", "big5hkscs": "big5", "hz-gb-2312": "gbk",
    "ansi_x3.110-1983": "windows-1252", "cp-850": "windows-1252", "utf8mb4": "utf-8",
}  # fmt: skip
"""Labels of real mail that the table of the Encoding standard lacks."""

_STATEFUL = frozenset({"iso2022_jp_ext", "iso2022_jp_2004", "iso2022_jp_3"})
_MULTI_BYTE = frozenset(
    {"utf-8", "shift_jis", "euc-jp", "iso-2022-jp", "gbk", "gb18030", "big5", "euc-kr", "utf-16le", "utf-16be"}
)
_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.\-]+)""", re.IGNORECASE)
_META_BYTES = 4096
_HIGH = re.compile(rb"[\x80-\xff]")
_ESCAPE = re.compile(rb"\x1b[$(]")


@dataclass(frozen=True, slots=True)
class Text:
    """A decoded body. `codec`: Python's name; `skip`: bytes of a BOM before `text`; `notes`: ``label_lie`` and others."""

    text: str
    codec: str
    content: bytes
    skip: int = 0
    notes: tuple[str, ...] = ()
    exact: bool = True

    @property
    def query_encoding(self) -> str:
        """The codec in which a browser encodes queries: UTF-16 counts as UTF-8 (WHATWG, "get an output encoding")."""
        return "utf-8" if self.codec.startswith("utf") else self.codec


def lookup(label: str) -> str | None:
    """The WHATWG name of a label; None for none, for an unknown one, and for those that mean `replacement`."""
    label = label.strip("\"' \t").lower()
    if label in EXTRA_LABELS:
        return EXTRA_LABELS[label]
    found = webencodings.lookup(label)
    return None if found is None or found.name == "replacement" else str(found.name)


def decode(content: bytes, label: str, *, html: bool = False) -> Text:
    """Read `content` as a client would. Never raises."""
    for bom, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if content.startswith(bom):
            return _lenient(content, codec, len(bom))
    if content.isascii() and not _ESCAPE.search(content) and not _is_wide(label):
        return Text(content.decode("ascii"), "utf-8", content)
    name = lookup(label)
    notes: tuple[str, ...] = ()
    if name is not None and name not in _MULTI_BYTE and _is_utf8(content):
        return Text(content.decode("utf-8"), "utf-8", content, notes=("label_lie",))
    if name is not None:
        found = _strict(content, name)
        if found is not None:
            return found
        notes = ("label_wrong",)
    return _unlabelled(content, html, notes, name)


def _is_wide(label: str) -> bool:
    return (lookup(label) or "").startswith("utf-16")


def _unlabelled(content: bytes, html: bool, notes: tuple[str, ...], name: str | None) -> Text:
    if html and (meta := _META.search(content, 0, _META_BYTES)) is not None:
        declared = lookup(meta.group(1).decode("ascii", "replace"))
        found = _strict(content, declared) if declared and not declared.startswith("utf-16") else None
        if found is not None:
            return Text(found.text, found.codec, content, found.skip, notes)
    if _is_utf8(content):
        return Text(content.decode("utf-8"), "utf-8", content, notes=notes)
    if _ESCAPE.search(content) and (found := _strict(content, "iso-2022-jp")) is not None:
        return found
    if name is not None and name in _MULTI_BYTE:
        return _lenient(content, _codecs(name)[0], 0, notes)
    detected = _detected(content)
    if detected is not None:
        return Text(content.decode(detected), detected, content, notes=(*notes, "detected"))
    return _lenient(content, "cp1252", 0, notes)


def _detected(content: bytes) -> str | None:
    """charset-normalizer's best guess that really decodes and that is a charset of the web."""
    place = _HIGH.search(content)
    start = max(0, (place.start() if place else 0) - 1000)
    best = from_bytes(content[start : start + SAMPLE]).best()
    name = lookup(best.encoding.replace("_", "-")) if best is not None else None
    found = _strict(content, name) if name else None
    return found.codec if found else None


def _is_utf8(content: bytes) -> bool:
    if _HIGH.search(content) is None:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _codecs(name: str) -> tuple[str, ...]:
    known = CODECS.get(name)
    if known is None:
        encoding = webencodings.lookup(name)
        known = (str(encoding.codec_info.name),) if encoding is not None else ("cp1252",)
    return known


def _strict(content: bytes, name: str) -> Text | None:
    for codec in _codecs(name):
        try:
            text = content.decode(codec)
        except (UnicodeDecodeError, LookupError):
            continue
        return Text(text, codec, content, exact=codec not in _STATEFUL)
    return None


def _lenient(content: bytes, codec: str, skip: int, notes: tuple[str, ...] = ()) -> Text:
    """With U+FFFD for what does not decode."""
    body = content[skip:]
    try:
        return Text(body.decode(codec), codec, content, skip, notes, exact=codec not in _STATEFUL)
    except UnicodeDecodeError:
        return Text(body.decode(codec, "replace"), codec, content, skip, (*notes, "undecodable"), exact=False)


def byte_edits(text: Text, edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """Edits of the bytes for edits of the text. Not a byte outside of them is touched, whatever the label said."""
    if not edits:
        return []
    new_codec = text.codec if text.codec.startswith("utf-16") else "ascii"
    if text.exact and text.text.isascii() and not new_codec.startswith("utf-16"):
        return [Edit(e.start + text.skip, e.end + text.skip, e.new.encode("ascii")) for e in edits]
    if text.exact and text.text.encode(text.codec, "replace") == text.content[text.skip :]:
        return _by_encoding(text, edits, new_codec)
    starts, ends = _byte_map(text)
    found = []
    for edit in edits:
        start = starts[edit.start] if edit.start < len(starts) else len(text.content)
        if edit.end == edit.start:
            # An insertion stands behind the character before it, or before the one behind it: never inside an escape.
            at = start if edit.new.startswith("<a ") else (ends[edit.end - 1] if edit.end else start)
            found.append(Edit(at, at, edit.new.encode(new_codec)))
        else:
            found.append(Edit(start, ends[edit.end - 1], edit.new.encode(new_codec)))
    return found


def _by_encoding(text: Text, edits: Sequence[Edit[str]], new_codec: str) -> list[Edit[bytes]]:
    """Offsets by encoding what lies between: linear, as each stretch is encoded once."""
    found = []
    place, offset = 0, text.skip
    for edit in edits:
        offset += len(text.text[place : edit.start].encode(text.codec))
        start = offset
        offset += len(text.text[edit.start : edit.end].encode(text.codec))
        place = edit.end
        found.append(Edit(start, offset, edit.new.encode(new_codec)))
    return found


def _byte_map(text: Text) -> tuple[list[int], list[int]]:
    """For each character, where its bytes begin and end; found by feeding an incremental decoder byte by byte."""
    decoder = codecs.getincrementaldecoder(text.codec)("replace")
    starts: list[int] = []
    ends: list[int] = []
    begin = text.skip
    for place in range(text.skip, len(text.content)):
        produced = decoder.decode(text.content[place : place + 1])
        for character in produced:
            starts.append(place if character.isascii() else begin)
            ends.append(place + 1)
        if produced:
            begin = place + 1
    for _ in decoder.decode(b"", True):
        starts.append(begin)
        ends.append(len(text.content))
    return starts, ends
