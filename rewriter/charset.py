"""From bytes to text and back to byte offsets: which charset a body is really in. Pure; knows no link.

BOM, then the label by the WHATWG table, then a `meta`, then UTF-8 if it decodes, then detection, then windows-1252. Python's
own codec names are never asked: 70 of them (cp037, rot13, …) would read what no client reads.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import webencodings
from charset_normalizer import from_bytes

from rewriter import shifted
from rewriter.edit import Edit
from rewriter.readings import Doubt, View
from rewriter.shifted import HZ, ISO_2022_JP

SAMPLE = 65_536
"""Bytes that detection looks at: it takes 0.2 s for 1 MB with one bad byte."""

MIN_KANA = 0.15
"""Share of kana among the characters that are not ASCII, from which a text counts as Japanese. Headlines have a fifth."""

CODECS: dict[str, tuple[str, ...]] = {
    "shift_jis": ("cp932", "shift_jis_2004"),
    "euc-jp": ("euc_jp", "euc_jis_2004"),
    "iso-2022-jp": ("iso-2022-jp",),
    "gbk": ("gbk", "gb18030"),
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
    "sjis-win": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "cp950": "big5", "big5hkscs": "big5",
    "hz-gb-2312": "hz-gb-2312", "hz": "hz-gb-2312",
    "ansi_x3.110-1983": "windows-1252", "cp-850": "windows-1252", "utf8mb4": "utf-8",
}  # fmt: skip
"""Labels of real mail that the table of the Encoding standard lacks."""

_SHIFTED = frozenset({ISO_2022_JP, HZ})
"""The charsets of `rewriter.shifted`."""

_QUERIES = {
    "cp932": "shift_jis", "shift_jis_2004": "shift_jis", "euc_jp": "euc-jp", "euc_jis_2004": "euc-jp",
    ISO_2022_JP: "iso-2022-jp", HZ: "utf-8", "big5hkscs": "big5", "cp950": "big5", "cp949": "euc-kr",
}  # fmt: skip
"""Codec → the encoding of queries in such a document, where that is not named alike."""

_UTF7 = frozenset({"utf-7", "utf7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "csunicode11utf7", "x-unicode-2-0-utf-7"})
_MULTI_BYTE = frozenset(
    {"utf-8", "shift_jis", "euc-jp", "iso-2022-jp", "gbk", "gb18030", "big5", "euc-kr", "utf-16le", "utf-16be"}
)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.\-]+)""", re.IGNORECASE)
_META_BYTES = 4096
_HIGH = re.compile(rb"[\x80-\xff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_UTF7_RUN = re.compile(rb"\+[A-Za-z0-9+/]+-?")
_LINK_BYTES = (b"http:/", b"http:\\", b"https:/", b"https:\\", b"www.")
_LINK_TEXT = re.compile(r"https?:[/\\]|www\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """A decoded body.

    codec: Python's name, `ISO_2022_JP` or `HZ`  skip:  bytes of a BOM before `text`
    notes: ``label_lie`` and others            exact: `text` in this codec is `content` again
    said:  codec of what a body of ASCII alone is said to be in, which only its queries show
    """

    text: str
    codec: str
    content: bytes
    skip: int = 0
    notes: tuple[str, ...] = ()
    exact: bool = True
    stretches: tuple[shifted.Stretch, ...] = ()
    said: str = ""

    @property
    def query_encoding(self) -> str:
        """How a browser encodes queries, as in `toc.query_encoding`: UTF-16 counts as UTF-8 ("get an output encoding")."""
        codec = self.said or self.codec
        return "utf-8" if codec.startswith("utf") else _QUERIES.get(codec, codec)


def lookup(label: str) -> str | None:
    """The WHATWG name of a label; None for none, for an unknown one, and for those that mean `replacement`."""
    label = label.strip("\"' \t").lower()
    if label in EXTRA_LABELS:
        return EXTRA_LABELS[label]
    found = webencodings.lookup(label) if label.isascii() else None
    return None if found is None or found.name == "replacement" else str(found.name)


def decode(content: bytes, label: str, *, html: bool = False, view: View | None = None) -> Text:
    """Read `content` as a client would. Never raises."""
    found = _decode(content, label, html)
    if view is None:
        return found
    if label.strip("\"' ").lower() in _UTF7 and b"+" in content and view.doubt(Doubt.UTF7):
        return Text(content.decode("utf-7", "replace"), "utf-7", content, exact=False)
    if _hides_links(found) and view.doubt(Doubt.CHARSET):
        return Text(content.decode("latin-1"), "latin-1", content)
    if not content.isascii() and (_is_guess(found, label) or shifted.looks_shifted(content)):
        view.doubt(Doubt.DETECTED)  # what is guessed the next time is read then
    return found


def _is_guess(found: Text, label: str) -> bool:
    sure = found.codec == "utf-8" and found.exact
    return not sure and (bool(found.notes) or lookup(label) is None)


def _hides_links(found: Text) -> bool:
    """Whether the bytes, read as ASCII, hold more beginnings of links than the text does."""
    if found.codec == "utf-8" or (found.text.isascii() and len(found.text) == len(found.content)):
        return False  # no byte of ASCII is a part of another character there
    lower = found.content.lower()
    in_bytes = sum(map(lower.count, _LINK_BYTES))
    return in_bytes > 0 and in_bytes > len(_LINK_TEXT.findall(found.text))


def _decode(content: bytes, label: str, html: bool) -> Text:
    for bom, codec in _BOMS:
        if content.startswith(bom):
            return _lenient(content, codec, len(bom))
    name = lookup(label)
    if content.isascii() and not (name or "").startswith("utf-16"):
        return _seven_bits(content, name, html)
    notes: tuple[str, ...] = ()
    if name is not None and name not in _MULTI_BYTE and _is_utf8(content):
        return Text(content.decode("utf-8"), "utf-8", content, notes=("label_lie",))
    if name == "windows-1252" and (japanese := _japanese(content)) is not None:
        return replace(japanese, notes=("label_lie",))
    if name is not None:
        found = _strict(content, name)
        if found is not None:
            return found
        notes = ("label_wrong",)
    return _unlabelled(content, html, notes, name)


def _seven_bits(content: bytes, name: str | None, html: bool) -> Text:
    """ASCII, unless it shifts into other sets and all of it can be read so: then no other label is to be believed."""
    charset = shifted.looks_shifted(content)
    if charset is not None:
        found = _shifted(content, charset, ("label_lie",) if name not in (None, charset) else ())
        if "\ufffd" not in found.text:
            return found
        if name == charset:
            return replace(found, notes=("undecodable",))
    name = name or (_declared(content) if html else None) or "utf-8"
    said = name if name in _SHIFTED else _codecs(name)[0]
    return Text(content.decode("ascii"), "utf-8", content, said=said)


def _declared(content: bytes) -> str | None:
    """The charset that a document's `meta` names."""
    meta = _META.search(content, 0, _META_BYTES)
    name = lookup(meta.group(1).decode("ascii", "replace")) if meta else None
    return "utf-8" if name is not None and name.startswith("utf-16") else name


def _unlabelled(content: bytes, html: bool, notes: tuple[str, ...], name: str | None) -> Text:
    declared = _declared(content) if html else None
    if declared is not None and (found := _strict(content, declared)) is not None:
        return replace(found, notes=notes)
    if _is_utf8(content):
        return Text(content.decode("utf-8"), "utf-8", content, notes=notes)
    detected = _japanese(content) or _detected(content)
    if detected is not None:
        return replace(detected, notes=(*notes, "detected"))
    return _lenient(content, _codecs(name)[0] if name in _MULTI_BYTE and name else "cp1252", 0, notes)


def _japanese(content: bytes) -> Text | None:
    """Shift_JIS or EUC-JP, where it reads as Japanese does: full of kana. No other language's text does so by chance."""
    best: tuple[float, Text] | None = None
    for name in ("shift_jis", "euc-jp"):
        found = _strict(content, name)
        if found is None:
            continue
        foreign = _NOT_ASCII.findall(found.text, 0, SAMPLE)
        kana = sum("\u3041" <= character <= "\u30fe" for character in foreign)
        narrow = sum("\uff61" <= character <= "\uff9f" for character in foreign)
        share = (kana - 2 * narrow) / max(len(foreign), 1)
        if share >= MIN_KANA and (best is None or share > best[0]):
            best = share, found
    return best[1] if best else None


def _detected(content: bytes) -> Text | None:
    """charset-normalizer's best guess that really decodes and that is a charset of the web."""
    place = _HIGH.search(content)
    start = max(0, (place.start() if place else 0) - 1000)
    best = from_bytes(content[start : start + SAMPLE]).best()
    name = lookup(best.encoding.replace("_", "-")) if best is not None else None
    return _strict(content, name) if name else None


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
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
    if name in _SHIFTED:
        found = _shifted(content, name, ())
        return None if "\ufffd" in found.text else found
    for codec in _codecs(name):
        try:
            text = content.decode(codec)
        except (UnicodeDecodeError, LookupError):
            continue
        return Text(text, codec, content)
    return None


def _lenient(content: bytes, codec: str, skip: int, notes: tuple[str, ...] = ()) -> Text:
    """With U+FFFD for what does not decode."""
    if codec in _SHIFTED:
        return _shifted(content, codec, (*notes, "undecodable"))
    body = content[skip:]
    try:
        return Text(body.decode(codec), codec, content, skip, notes)
    except UnicodeDecodeError:
        return Text(body.decode(codec, "replace"), codec, content, skip, (*notes, "undecodable"), exact=False)


def _shifted(content: bytes, charset: str, notes: tuple[str, ...]) -> Text:
    parts = tuple(shifted.stretches(content, charset))
    return Text("".join(part.text for part in parts), charset, content, 0, notes, stretches=parts)


def byte_edits(text: Text, edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """Edits of the bytes for edits of the text. Not a byte outside of them is touched, whatever the label said."""
    if not edits:
        return []
    if text.codec in _SHIFTED:
        return shifted.edits_of(text.content, text.codec, text.stretches, edits)
    if text.codec == "utf-7":
        return _utf7_edits(text, edits)
    if text.codec.startswith("utf-16"):  # two bytes a code unit, a broken one too
        return _by_encoding(text, edits)
    if text.exact and text.text.isascii():
        return [Edit(e.start + text.skip, e.end + text.skip, e.new.encode("ascii")) for e in edits]
    if text.exact and text.text.encode(text.codec, "replace") == text.content[text.skip :]:
        return _by_encoding(text, edits)
    places = _Places(text)
    return [Edit(*places.span(edit), edit.new.encode("ascii")) for edit in edits]


def _by_encoding(text: Text, edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """Offsets by encoding what lies between: linear, as each stretch is encoded once."""
    found = []
    place, offset, last = 0, text.skip, len(text.content)
    new_codec = text.codec if text.codec.startswith("utf-16") else "ascii"
    for edit in edits:
        offset += len(text.text[place : edit.start].encode(text.codec))
        start = offset
        offset += len(text.text[edit.start : edit.end].encode(text.codec))
        place = edit.end
        found.append(Edit(min(start, last), min(offset, last), edit.new.encode(new_codec)))
    return found


class _Places:
    """Byte offsets of characters, for bytes that the codec would not give back: cp932 has two spellings of some.

    A line at a time, as no multi-byte charset of mail has LF as a second byte; the whole text at once where the lines by
    themselves would read differently. Asked in ascending order.
    """

    def __init__(self, text: Text) -> None:
        self._text = text
        self._lines = iter(self._cut())
        self._chars = 0  # characters before the current line
        self._map: list[int] = []
        self._next()

    def span(self, edit: Edit[str]) -> tuple[int, int]:
        """(start, end) in bytes."""
        return self._of(edit.start), self._of(edit.end)

    def _of(self, offset: int) -> int:
        while offset - self._chars >= len(self._map) - 1 and self._next():
            pass
        return self._map[min(offset - self._chars, len(self._map) - 1)]

    def _next(self) -> bool:
        """Go on to the next line; its map holds the start of each character, and the end of the last one."""
        line = next(self._lines, None)
        if line is None:
            return False
        self._chars += max(len(self._map) - 1, 0)
        self._map = _starts(self._text.content, *line, self._text.codec)
        return True

    def _cut(self) -> Iterator[tuple[int, int]]:
        content, codec, skip = self._text.content, self._text.codec, self._text.skip
        cuts = [skip, *(found.end() for found in re.finditer(rb"\n", content) if found.end() > skip)]
        lines = [*zip(cuts, [*cuts[1:], len(content)], strict=True)]
        if "".join(content[start:end].decode(codec, "replace") for start, end in lines) != self._text.text:
            lines = [(skip, len(content))]
        yield from lines


def _starts(content: bytes, start: int, end: int, codec: str) -> list[int]:
    """Where each character of content[start:end] begins, and the end, by feeding a decoder byte by byte."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    places: list[int] = []
    begin = start
    for place in range(start, end):
        produced = decoder.decode(content[place : place + 1])
        for number, _ in enumerate(produced):
            places.append(begin if number == 0 else place)
        if produced:
            begin = place + 1
    places += [begin] * len(decoder.decode(b"", True))
    return [*places, end]


def _utf7_edits(text: Text, edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """Whole base64 runs that an edit touches are written anew; what else stood in them stays in UTF-7."""
    pieces = _utf7_pieces(text.content)
    if "".join(piece for _, _, piece in pieces) != text.text:
        raise ValueError("UTF-7 that decodes differently in pieces")
    chars = [0, *accumulate(len(piece) for _, _, piece in pieces)]
    found: list[Edit[bytes]] = []
    behind = place = 0  # characters before the last edit's end, and up to which all is written
    for edit in edits:
        first = bisect_right(chars, edit.start, 0, len(pieces)) - 1
        last = max(first, bisect_left(chars, edit.end, 0, len(pieces)) - 1)
        start, done = pieces[first][0], b""
        if found and edit.start < place:  # in the run of the edit before: one edit for both
            before = found.pop()
            start, done = before.start, before.new[: len(before.new) - len(text.text[behind:place].encode("utf-7"))]
        else:
            behind = chars[first]
        done += text.text[behind : edit.start].encode("utf-7") + edit.new.encode("utf-7")
        behind, place = edit.end, chars[last + 1]
        found.append(Edit(start, pieces[last][1], done + text.text[behind:place].encode("utf-7")))
    return found


def _utf7_pieces(content: bytes) -> list[tuple[int, int, str]]:
    """(start, end, text) of each base64 run, and of each byte outside of them."""
    found: list[tuple[int, int, str]] = []
    place = 0
    for run in [*_UTF7_RUN.finditer(content), None]:
        end = run.start() if run else len(content)
        text = content[place:end].decode("utf-7", "replace")
        if len(text) == end - place:
            found += [(place + at, place + at + 1, character) for at, character in enumerate(text)]
        elif end > place:
            found.append((place, end, text))
        if run:
            found.append((run.start(), run.end(), run.group().decode("utf-7", "replace")))
            place = run.end()
    return found
