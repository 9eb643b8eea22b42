"""Edits: the only way in which a message changes. Pure; knows neither mail nor links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import AnyStr, Generic, NamedTuple


class Edit(NamedTuple, Generic[AnyStr]):
    """Replace ``source[start:end]`` by `new`. Offsets count code units of the source (characters or bytes)."""

    start: int
    end: int
    new: AnyStr


def apply(source: AnyStr, edits: Sequence[Edit[AnyStr]]) -> AnyStr:
    """`source` with all `edits` carried out; without edits, `source` itself.

    Edits are given in ascending order and don't overlap; two insertions at one place keep their order. Raises
    ValueError where that does not hold, as a splice at a wrong place would damage a mail.
    """
    if not edits:
        return source
    pieces: list[AnyStr] = []
    position = 0
    for edit in edits:
        if not position <= edit.start <= edit.end <= len(source):
            raise ValueError(f"edit {edit.start}..{edit.end} overlaps or leaves the source")
        pieces.append(source[position : edit.start])
        pieces.append(edit.new)
        position = edit.end
    pieces.append(source[position:])
    return source[:0].join(pieces)


def invert(source: AnyStr, edits: Sequence[Edit[AnyStr]]) -> list[Edit[AnyStr]]:
    """The edits that turn ``apply(source, edits)`` back into `source`."""
    inverse: list[Edit[AnyStr]] = []
    shift = 0
    for edit in edits:
        start = edit.start + shift
        inverse.append(Edit(start, start + len(edit.new), source[edit.start : edit.end]))
        shift += len(edit.new) - (edit.end - edit.start)
    return inverse
