"""Breaking links in what could not be read: ``http(s)://`` becomes ``hxxp(s)://``, in any ASCII-like charset and UTF-16. Pure.

Every replacement has the length of what it replaces, so that nothing else in the part can move.
"""

from __future__ import annotations

import re

from rewriter.edit import Edit

_SCHEME = re.compile(rb"h(\0?)t\0?t\0?p(?=\0?s?\0?:\0?[/\\&])", re.IGNORECASE)


def broken(content: bytes) -> list[Edit[bytes]]:
    """Edits of the decoded bytes of a part."""
    edits = []
    for found in _SCHEME.finditer(content):
        new = bytearray(found.group())
        for place, byte in enumerate(new):
            if byte in b"tT":
                new[place] = ord("x")
        edits.append(Edit(found.start(), found.end(), bytes(new)))
    return edits
