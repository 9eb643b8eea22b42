"""Queries as browsers encode them, by the charset of the document (WHATWG Encoding, encoders). Pure.

Python's codecs decode as browsers do but encode otherwise: they know characters that no browser would encode, and choose other
bytes where there are two. So the tables are made of what the codecs decode, in the order of the standard's indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

_SPECIAL_QUERY = frozenset(b"\"#<>'")
_LIKE_ASCII = {"\u00a5": b"\\", "\u203e": b"~"}
"""Japanese encoders write these so."""

_FIRST_KANA = 0xFF61
_WIDE_KANA = (
    "\u3002\u300c\u300d\u3001\u30fb\u30f2\u30a1\u30a3\u30a5\u30a7\u30a9\u30e3\u30e5\u30e7\u30c3\u30fc\u30a2\u30a4\u30a6\u30a8\u30aa"
    "\u30ab\u30ad\u30af\u30b1\u30b3\u30b5\u30b7\u30b9\u30bb\u30bd\u30bf\u30c1\u30c4\u30c6\u30c8\u30ca\u30cb\u30cc\u30cd\u30ce\u30cf"
    "\u30d2\u30d5\u30d8\u30db\u30de\u30df\u30e0\u30e1\u30e2\u30e4\u30e6\u30e8\u30e9\u30ea\u30eb\u30ec\u30ed\u30ef\u30f3\u309b\u309c"
)
"""For the narrow ones from U+FF61 on, which ISO-2022-JP lacks (WHATWG, "index ISO-2022-JP katakana")."""

_NEC_SELECTED = range(8272, 8836)
"""Pointers that the Shift_JIS encoder leaves out: IBM's letters stand there a second time."""

_BEHIND_ROWS = range(94 * 94, 1 << 16)
"""Pointers that only Shift_JIS can write."""

_LAST_OF_TWO = frozenset("\u2550\u255e\u2561\u256a\u5341\u5345")
_ASCII, _ROMAN, _JIS = b"\x1b(B", b"\x1b(J", b"\x1b$B"


def encode_query(query: str, charset: str) -> str:
    """`query` in ASCII: what is not is encoded and percent-encoded (WHATWG URL, "percent-encode after encoding").

    charset: name of the standard, or a codec of Python for one of single bytes. What it lacks becomes ``&#N;``, as in a form.
    """
    if charset == "iso-2022-jp":
        return _iso_2022_jp(query)
    encode = _ENCODERS.get(charset)
    out = []
    for character in query:
        if character.isascii():
            out.append(character)
        else:
            out.append(_spelt(encode(character) if encode else _single(character, charset), character))
    return "".join(out)


def _spelt(raw: bytes | None, character: str) -> str:
    return f"%26%23{ord(character)}%3B" if raw is None else _percent(raw)


def _percent(raw: bytes) -> str:
    """A character of several bytes may hold some of ASCII: they stay bare unless the special-query set names them."""
    return "".join(
        f"%{byte:02X}" if byte >= 0x7F or byte < 0x21 or byte in _SPECIAL_QUERY else chr(byte) for byte in raw
    )


def _single(character: str, codec: str) -> bytes | None:
    """A control stands for itself where the charset has nothing at its place."""
    try:
        return character.encode(codec)
    except UnicodeEncodeError:
        place = character.encode("latin-1", "ignore")
        return place if "\x80" <= character <= "\x9f" and not place.decode(codec, "ignore") else None


def _pairs(codec: str, leads: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """Characters of two bytes, ascending."""
    for lead in leads:
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFF)):
            raw = bytes((lead, trail))
            try:
                character = raw.decode(codec)
            except UnicodeDecodeError:
                continue
            if len(character) == 1:
                yield character, raw


@cache
def _jis0208(without: range) -> dict[str, int]:
    """Character → its first pointer; letters of private use (leads 0xF0 to 0xF9) are read and never written."""
    found: dict[str, int] = {}
    for character, (lead, trail) in _pairs("cp932", (*range(0x81, 0xA0), *range(0xE0, 0xF0), *range(0xFA, 0xFD))):
        pointer = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 188 + trail - (0x40 if trail < 0x7F else 0x41)
        if pointer not in without:
            found.setdefault(character, pointer)
    return found


def _pointer(character: str, without: range) -> int | None:
    return _jis0208(without).get("\uff0d" if character == "\u2212" else character)


def _narrow_kana(character: str) -> int:
    """The number of a narrow kana; -1 for any other character."""
    number = ord(character) - _FIRST_KANA
    return number if 0 <= number < len(_WIDE_KANA) else -1


def _shift_jis(character: str) -> bytes | None:
    if character in _LIKE_ASCII:
        return _LIKE_ASCII[character]
    if character == "\x80":
        return b"\x80"
    if (kana := _narrow_kana(character)) >= 0:
        return bytes((0xA1 + kana,))
    pointer = _pointer(character, _NEC_SELECTED)
    if pointer is None:
        return None
    lead, trail = divmod(pointer, 188)
    return bytes((lead + (0x81 if lead < 0x1F else 0xC1), trail + (0x40 if trail < 0x3F else 0x41)))


def _euc_jp(character: str) -> bytes | None:
    if character in _LIKE_ASCII:
        return _LIKE_ASCII[character]
    if (kana := _narrow_kana(character)) >= 0:
        return bytes((0x8E, 0xA1 + kana))
    return _in_rows(character, 0xA1)


def _in_rows(character: str, first: int) -> bytes | None:
    pointer = _pointer(character, _BEHIND_ROWS)
    return None if pointer is None else bytes((first + pointer // 94, first + pointer % 94))


def _iso_2022_jp(query: str) -> str:
    """The one with states: it shifts where the next character needs another set, and back to ASCII at the end."""
    out = []
    now = _ASCII
    for character in query:
        state, raw = _in_state(character, now)
        if state is not now:
            out.append(_percent(state))
            now = state
        out.append(character if character.isascii() else _spelt(raw, character))
    if now is not _ASCII:
        out.append(_percent(_ASCII))
    return "".join(out)


def _in_state(character: str, now: bytes) -> tuple[bytes, bytes | None]:
    """The state in which a character is written, and its bytes; None for what has none and is written in ASCII."""
    if character in _LIKE_ASCII:
        return _ROMAN, _LIKE_ASCII[character]
    raw = None
    if not character.isascii():
        kana = _narrow_kana(character)
        raw = _in_rows(_WIDE_KANA[kana] if kana >= 0 else character, 0x21)
    if raw is not None:
        return _JIS, raw
    return (_ROMAN if now is _ROMAN and character not in "\\~" else _ASCII), None


@cache
def _big5_index() -> dict[str, bytes]:
    """From 0xA1 on: what Hong Kong added before is read and never written. The signs are those of Windows."""
    found: dict[str, bytes] = {}
    for codec, leads in (("cp950", range(0xA1, 0xA4)), ("big5hkscs", range(0xA4, 0xFF))):
        for character, raw in _pairs(codec, leads):
            if character not in found or character in _LAST_OF_TWO:
                found[character] = raw
    return found


def _big5(character: str) -> bytes | None:
    return _big5_index().get(character)


def _euc_kr(character: str) -> bytes | None:
    try:
        return character.encode("cp949")
    except UnicodeEncodeError:
        return None


def _gbk(character: str) -> bytes | None:
    if character == "\u20ac":
        return b"\x80"
    raw = character.encode("gb18030")
    return raw if len(raw) == 2 and character != "\ue5e5" else None


_ENCODERS: dict[str, Callable[[str], bytes | None]] = {
    "big5": _big5,
    "euc-jp": _euc_jp,
    "euc-kr": _euc_kr,
    "gbk": _gbk,
    "shift_jis": _shift_jis,
}
