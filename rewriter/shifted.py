"""Charsets of seven bits that shift between sets: ISO-2022-JP (RFC 1468, with the vendors' sets) and HZ (RFC 1843). Pure.

The text is cut into stretches of one state each, with their places. Python's codecs refuse ①, ㈱ and 髙, of which mails
are full; JIS rows are read through cp932, which has them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewriter.edit import Edit

ISO_2022_JP = "iso-2022-jp"
HZ = "hz-gb-2312"

_JIS_STEP = re.compile(rb"\x1b(?:\$\([@BDOPQ]|\$[@BA]|\([A-JN]|\)[A-J])|[\r\n]+")
_HZ_STEP = re.compile(rb"~[{}]|~\r?\n|~~|[\r\n]+")
_HZ_RUN = re.compile(rb"~\{(?:[!-w][!-~])+~\}")
_HOME = {ISO_2022_JP: b"\x1b(B", HZ: b"~}"}
"""What leads back to ASCII."""

_LIKE_ASCII = frozenset({b"\x1b(B", b"\x1b(J", b"\x1b(H", b"~}"})
_KANA = b"\x1b(I"
_SUPPLEMENT = frozenset({b"\x1b$(D", b"\x1b$(P", b"\x1b$(Q", b"\x1b$(O"})
_GB = frozenset({b"\x1b$A", b"~{"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """content[start:end], all in one state: `width` bytes make one character of `text`, which begins at `place`."""

    place: int
    start: int
    end: int
    width: int
    text: str
    state: bytes


def looks_shifted(content: bytes) -> str | None:
    """Which of the two `content` holds runs of, whatever its label says."""
    if b"\x1b" in content and (b"\x1b$" in content or b"\x1b(" in content):  # one byte alone is found at once
        return ISO_2022_JP
    return HZ if b"~" in content and _HZ_RUN.search(content) else None


def stretches(content: bytes, charset: str) -> list[Stretch]:
    """`content` cut at its shifts; a new line begins in ASCII."""
    found: list[Stretch] = []
    place = 0
    for start, end, state in _runs(content, charset):
        text = _text(content[start:end], state)
        width = 1 if state in _LIKE_ASCII or state.startswith(b"\x1b(") else 2
        if state == b"~~":
            text, width = "~", 2
        found.append(Stretch(place, start, end, width, text, _HOME[HZ] if state == b"~~" else state))
        place += len(text)
    return found


def _runs(content: bytes, charset: str) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, state) of what stands between the shifts."""
    home = _HOME[charset]
    state = home
    start = 0
    for step in (_HZ_STEP if charset == HZ else _JIS_STEP).finditer(content):
        shift = step.group()
        if shift == b"~~" and state != home:
            continue  # inside a run it is a character
        if step.start() > start:
            yield start, step.start(), state
        start = step.end()
        if shift == b"~~":
            yield step.start(), start, shift
        elif shift[0] in b"\r\n":
            state = home
            yield step.start(), start, state
        elif shift[0] == 0x1B or shift in (b"~{", b"~}"):
            state = shift
    if start < len(content):
        yield start, len(content), state


def _text(raw: bytes, state: bytes) -> str:
    if state == _KANA:
        return "".join(chr(byte + 0xFF40) if 0x21 <= byte <= 0x5F else chr(byte) for byte in raw)
    if state in _LIKE_ASCII or state.startswith(b"\x1b("):
        return raw.decode("ascii", "replace")
    return "".join(_character(raw[place : place + 2], state) for place in range(0, len(raw), 2))


def _character(pair: bytes, state: bytes) -> str:
    """U+FFFD for what is none, a byte alone at the end too."""
    if len(pair) < 2 or not (0x21 <= pair[0] <= 0x7E and 0x21 <= pair[1] <= 0x7E):
        return "\ufffd"
    high = bytes(byte | 0x80 for byte in pair)
    if state in _SUPPLEMENT:
        text = (b"\x8f" + high).decode("euc_jp", "replace")
    elif state in _GB:
        text = high.decode("gb18030", "replace")
    else:
        text = _shift_jis(pair).decode("cp932", "replace")
    return text if len(text) == 1 else "\ufffd"


def _shift_jis(pair: bytes) -> bytes:
    """JIS row and cell as Shift_JIS spells them."""
    row, cell = pair[0] - 0x21, pair[1] - 0x21
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row % 2 else 0x40)
    return bytes((lead, trail + (row % 2 == 0 and trail >= 0x7F)))


def edits_of(content: bytes, charset: str, parts: Sequence[Stretch], edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """The edits in bytes. What is inserted is in ASCII, and whatever follows is in the state in which it was."""
    home = _HOME[charset]
    places = [part.place for part in parts]
    found: list[Edit[bytes]] = []
    for edit in edits:
        first = parts[bisect_right(places, edit.start) - 1]
        last = parts[bisect_right(places, max(edit.end - 1, edit.start)) - 1]
        start = min(first.start + (edit.start - first.place) * first.width, first.end)
        end = start if edit.end == edit.start else min(last.start + (edit.end - last.place) * last.width, last.end)
        before = b"" if first.state in _LIKE_ASCII else home
        behind = last.state if edit.end > edit.start else first.state
        same = behind == (before or first.state) or content[end : end + 1] == b"\x1b"
        found.append(Edit(start, end, before + edit.new.encode("ascii") + (b"" if same else behind)))
    return found
