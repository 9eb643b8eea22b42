"""ISO-2022-JP as mail has it (RFC 1468 and the vendors' sets): stretches of one state each, with their places. Pure.

Python's codecs refuse ①, ㈱ and 髙, of which mails are full; JIS rows are read through cp932, which has them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.edit import Edit

ASCII = b"\x1b(B"
_STEP = re.compile(rb"\x1b(?:\$\([@BDOPQ]|\$[@BA]|\([A-JN]|\)[A-J])|[\r\n]+")
_LIKE_ASCII = frozenset({ASCII, b"\x1b(J", b"\x1b(H"})
_KANA = b"\x1b(I"
_SUPPLEMENT = frozenset({b"\x1b$(D", b"\x1b$(P", b"\x1b$(Q", b"\x1b$(O"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """content[start:end], all in one state: `width` bytes make one character of `text`, which begins at `place`."""

    place: int
    start: int
    end: int
    width: int
    text: str
    state: bytes


def stretches(content: bytes) -> list[Stretch]:
    """`content` cut at its escape sequences; a new line begins in ASCII."""
    found: list[Stretch] = []
    state = ASCII
    place = start = 0
    for step in [*_STEP.finditer(content), None]:
        end = step.start() if step else len(content)
        if end > start:
            place = _add(found, content, place, start, end, state)
        if step is None:
            break
        if step.group()[0] == 0x1B:
            state = step.group()
        else:
            state = ASCII
            place = _add(found, content, place, step.start(), step.end(), ASCII)
        start = step.end()
    return found


def _add(found: list[Stretch], content: bytes, place: int, start: int, end: int, state: bytes) -> int:
    if state in _LIKE_ASCII:
        text, width = content[start:end].decode("ascii", "replace"), 1
    elif state == _KANA:
        text, width = (
            "".join(chr(byte + 0xFF40) if 0x21 <= byte <= 0x5F else chr(byte) for byte in content[start:end]),
            1,
        )
    elif state.startswith(b"\x1b("):
        text, width = content[start:end].decode("ascii", "replace"), 1
    else:
        text, width = _double(content[start:end], state), 2
    found.append(Stretch(place, start, end, width, text, state))
    return place + len(text)


def _double(raw: bytes, state: bytes) -> str:
    """One character for two bytes, U+FFFD for what is none; a byte alone at the end is one, too."""
    pairs = (raw[place : place + 2] for place in range(0, len(raw), 2))
    return "".join(_character(pair, state) for pair in pairs)


def _character(pair: bytes, state: bytes) -> str:
    if len(pair) < 2 or not (0x21 <= pair[0] <= 0x7E and 0x21 <= pair[1] <= 0x7E):
        return "\ufffd"
    if state in _SUPPLEMENT:
        text = (b"\x8f" + bytes(byte | 0x80 for byte in pair)).decode("euc_jp", "replace")
    elif state == b"\x1b$A":
        text = bytes(byte | 0x80 for byte in pair).decode("gb2312", "replace")
    else:
        text = _shifted(pair).decode("cp932", "replace")
    return text if len(text) == 1 else "\ufffd"


def _shifted(pair: bytes) -> bytes:
    """JIS row and cell as Shift_JIS spells them."""
    row, cell = pair[0] - 0x21, pair[1] - 0x21
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row % 2 else 0x40)
    return bytes((lead, trail + (row % 2 == 0 and trail >= 0x7F)))


def edits_of(content: bytes, parts: Sequence[Stretch], edits: Sequence[Edit[str]]) -> list[Edit[bytes]]:
    """The edits in bytes. What is inserted is in ASCII, and whatever follows is in the state in which it was."""
    if not parts:
        return [Edit(0, 0, edit.new.encode("ascii")) for edit in edits]
    places = [part.place for part in parts]
    found: list[Edit[bytes]] = []
    for edit in edits:
        first = parts[bisect_right(places, edit.start) - 1]
        last = parts[bisect_right(places, max(edit.end - 1, edit.start)) - 1]
        start = min(first.start + (edit.start - first.place) * first.width, first.end)
        end = start if edit.end == edit.start else min(last.start + (edit.end - last.place) * last.width, last.end)
        before = b"" if first.state in _LIKE_ASCII else ASCII
        behind = last.state if edit.end > edit.start else first.state
        same = behind == (before or first.state) or content[end : end + 1] == b"\x1b"
        after = b"" if same else behind
        found.append(Edit(start, end, before + edit.new.encode("ascii") + after))
    return found
