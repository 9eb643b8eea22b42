"""Dangerous schemes and paths that clients make clickable in text: ``file://server/share``, ``search-ms:query=…``, shares.

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
_SHARE = re.compile(
    r"(\\\\)(?<![^\s\"'(<\[:,;=]\\\\)(?:[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+|[A-Za-z0-9\-]{1,63}(?=@))\.?(?:@[A-Za-z0-9]+){0,2}"
    r"\\(?:(?![\"'(\[:,;=]\\\\)[^\s<>\"|?*]){1,1024}"
)
"""A path to a share: ``\\\\host\\share``. A host of one label is a neighbour's, and may as well be a command of TeX."""

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


def shares(source: str) -> Iterator[Dangerous]:
    """The paths to shares of strangers in `source`, ascending; `colon` is where their backslashes end."""
    for match in _SHARE.finditer(source):
        yield Dangerous(match.start(), match.end(1), match.group())
