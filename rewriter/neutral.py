"""Breaking links in what could not be read: ``http(s)://`` becomes ``hxxp(s)://``, in any ASCII-like charset and UTF-16. Pure.

Every replacement has the length of what it replaces, so that nothing else in the part can move.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

from rewriter.edit import Edit

_SCHEME = re.compile(rb"h(\0?)t\0?t\0?p(?=\0?s?\0?:\0?[/\\&])", re.IGNORECASE)
_WORD = re.compile(rb"[!#-%(-;=?-~]++")


def words(content: bytes) -> Iterator[bytes]:
    """What stands in ASCII where a link begins, up to a blank, a quote or a bracket."""
    for found in _SCHEME.finditer(content):
        if word := _WORD.match(content, found.start()):
            yield word.group()


def broken(content: bytes, kept: Container[bytes] = ()) -> list[Edit[bytes]]:
    """Edits of the decoded bytes of a part. `kept`: of `words` those that stay, our own links."""
    edits = []
    for found in _SCHEME.finditer(content):
        word = _WORD.match(content, found.start())
        if kept and word and word.group() in kept:
            continue
        new = bytearray(found.group())
        for place, byte in enumerate(new):
            if byte in b"tT":
                new[place] = ord("x")
        edits.append(Edit(found.start(), found.end(), bytes(new)))
    return edits


def merged(edits: Sequence[Edit[bytes]], more: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    """`edits`, and those of `more` that touch none of them. Both are ascending, and so is the result."""
    found = []
    index = 0
    for edit in more:
        while index < len(edits) and edits[index].end <= edit.start:
            found.append(edits[index])
            index += 1
        if index == len(edits) or edits[index].start >= edit.end:
            found.append(edit)
    return [*found, *edits[index:]]
