"""The receipt: one row per URL found, with its place and what became of it. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from rewriter.edit import Edit
from toc.link import Keep, Kind, Neutralise, Sealed


class Outcome(StrEnum):
    REWRITTEN = "rewritten"
    KEPT = "kept"
    NEUTRALISED = "neutralised"
    NOT_COVERABLE = "not_coverable"


class Row(NamedTuple):
    """What became of one URL.

    part:   path of the MIME part, ``1.2``; of a bare body: ``1``
    url:    serialised form; where there is none, as spelt
    text:   the spelling in the source, where it differs from `url`
    reason: a code of docs/reasons.md; for rewritten links ``sealed``
    link:   our link, where there is one
    level:  of the verdict at the time of rewriting, where one was asked
    """

    part: str
    kind: Kind
    url: str
    outcome: Outcome
    reason: str
    text: str = ""
    link: str | None = None
    level: str | None = None


def row_of(part: str, kind: Kind, url: str, text: str, fate: Sealed | Keep | Neutralise) -> Row:
    """The row that records `fate`."""
    spelt = "" if text == url else text
    if isinstance(fate, Sealed):
        return Row(part, kind, url, Outcome.REWRITTEN, "sealed", spelt, fate.link, fate.level)
    if isinstance(fate, Keep):
        link = url if fate.reason == "own_link" else None
        return Row(part, kind, url, Outcome.KEPT, fate.reason, spelt, link, fate.level)
    return Row(part, kind, url, Outcome.NEUTRALISED, fate.reason, spelt, None, fate.level)


@dataclass(frozen=True, slots=True)
class BodyResult:
    """What a rewriter of one decoded body (HTML, text, calendar) hands back.

    edits: over the decoded text, ascending
    rows:  the receipt of this body
    notes: things worth telling that are no URL (``second_judge``, ``grown_past_clip``), codes of docs/reasons.md
    sound: False where the output could not be proven free of foreign links: the part is unscannable
    """

    edits: tuple[Edit[str], ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    sound: bool = True
