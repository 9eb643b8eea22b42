"""Dangerous schemes that clients make clickable in text: ``file://server/share``, ``search-ms:query=…``.

Knows schemes and text; knows no http(s) URL. Which schemes are dangerous: `rewriter.skip`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.skip import DANGEROUS, OFFICE

_HARMLESS_IN_TEXT = frozenset({"search", "intent", "javascript", "livescript", "vbscript"})
"""No client links these in text, and people write them: ``search: …``, ``javascript:void(0)``."""

_LINKED = sorted((frozenset(DANGEROUS) | OFFICE) - _HARMLESS_IN_TEXT)
_COLON = re.compile(
    ":(?:"
    + "|".join(rf"(?<=(?i:{re.escape(name)}):)" + ("(?=//)" if name == "file" else r"(?=[^\s:])") for name in _LINKED)
    + ")"
)
_REST = re.compile(r"[^\s<>\"]{0,1024}")


@dataclass(frozen=True, slots=True)
class Dangerous:
    """A URL of a dangerous scheme. `colon`: where the scheme ends; `text`: the URL as spelt, at most 1 KiB of it."""

    start: int
    colon: int
    text: str


def dangerous(source: str) -> Iterator[Dangerous]:
    """The URLs of dangerous schemes in `source`, ascending."""
    done = 0
    for match in _COLON.finditer(source):
        colon = match.start()
        start = colon
        while start > done and (
            source[start - 1].isascii() and (source[start - 1].isalnum() or source[start - 1] in "+-.")
        ):
            start -= 1
        if source[start:colon].lower() in DANGEROUS or source[start:colon].lower() in OFFICE:
            rest = _REST.match(source, colon)
            yield Dangerous(start, colon, source[start : rest.end() if rest else colon])
        done = colon + 1
