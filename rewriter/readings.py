"""Where mail clients read one message differently, and the order in which we take each reading. Pure; knows no MIME itself.

A parser asks ``view.doubt(...)`` at each such place: it learns which side to take this time, and that there was a choice.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

MAX_READINGS = 16
"""Readings of one message. Three doubts give eight; more are taken one at a time and all at once."""


class Doubt(StrEnum):
    """The first side is that of the standards, the second that of the clients named by the comment."""

    FIELD = "field"  # a field twice: the first counts, or the last
    PARAMETER = "parameter"  # a parameter twice, or beside its RFC 2231 form: the first, or the last
    ENCODED_WORD = "encoded_word"  # RFC 2047 in a boundary: as it stands, or decoded
    TYPE = "type"  # a quoted type: broken, or without its quotes; a broken one in a digest: a message, or text
    ENCODING = "encoding"  # more behind the encoding's name, text in base64: read tolerantly, or as if not encoded
    LINE_END = "line_end"  # a bare CR in a header: ends the line, or not
    BLANK_LINE = "blank_line"  # blanks alone in a line of a header: folding, or the end of the header
    ODD_LINE = "odd_line"  # a line that is no field: skipped, or the start of the body
    BOUNDARY = "boundary"  # no usable boundary: the first line with two hyphens, or text as a whole
    LONGER = "longer"  # more behind a boundary: another line, or a delimiter (RFC 2046, 5.1.1)
    CLOSED = "closed"  # a delimiter behind the closing one: epilogue, or a further part
    PADDING = "padding"  # data behind base64 padding: decoded anew, or in one run
    CHARSET = "charset"  # links in the bytes that the charset does not show: as decoded, or as ASCII
    DETECTED = "detected"  # a charset that was guessed from the bytes: guessed once, or again when they have changed
    UTF7 = "utf7"  # labelled UTF-7: ASCII as browsers have it, or UTF-7


Reading = frozenset[Doubt]
"""The doubts of which the second side is taken."""


@dataclass(frozen=True, slots=True)
class View:
    """One reading, and the doubts met on the way."""

    chosen: Reading = frozenset()
    seen: set[Doubt] = field(default_factory=set)

    def doubt(self, what: Doubt) -> bool:
        """Whether to take the second side here."""
        self.seen.add(what)
        return what in self.chosen


def next_reading(seen: Set[Doubt], done: Set[Reading]) -> Reading | None:
    """The next reading to take; None where all are done."""
    if len(done) >= MAX_READINGS:
        return None
    doubts = sorted(seen)
    sizes = range(1, len(doubts) + 1) if len(doubts) <= 3 else (1, len(doubts))
    wanted = (frozenset(some) for size in sizes for some in combinations(doubts, size))
    return next((reading for reading in wanted if reading not in done), None)
