"""What passes between the rewriter and the keeper of the keys: a link as found, and what shall become of it.

Knows the words only. How a link is found is the rewriter's affair, how it is sealed that of `toc.protect`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Where in a mail a URL stands."""

    A = "a"
    AREA = "area"
    FORM = "form"  # form action, formaction
    REFRESH = "refresh"  # meta refresh
    FRAME = "frame"  # iframe, frame, embed, object, srcdoc
    SVG = "svg"  # a in svg: href, xlink:href, SMIL on them
    MATH = "math"  # href on MathML elements
    VML = "vml"  # Outlook's vector shapes in conditional comments
    TEXT = "text"  # bare URL in text
    CALENDAR = "calendar"  # property of a text/calendar part
    ATTACHMENT = "attachment"  # inside something that we cannot edit: listed only
    IMAGE = "image"  # img, background, style: fetched, not followed


FRAMES = frozenset({Kind.FRAME, Kind.REFRESH})


class Link(NamedTuple):
    """A URL at one place of one message.

    url:     absolute http(s) URL, serialised as a browser would (`toc.url.serialise`)
    kind:    where it stands
    text:    its spelling in the source, decoded
    other:   the other reading where a text boundary was ambiguous, serialised
    differs: the visible text of the link shows another host
    implied: the scheme was not spelt (``www.example.com``)
    in_text: found in running text (plain text, or the text of an HTML part)
    """

    url: str
    kind: Kind
    text: str = ""
    other: str | None = None
    differs: bool = False
    implied: bool = False
    in_text: bool = False


@dataclass(frozen=True, slots=True)
class Sealed:
    """Replace the URL by `link`, ours. `level` is the verdict's at the time of rewriting, where one was asked."""

    link: str
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave the bytes as they are. `reason` is a code of docs/reasons.md."""

    reason: str
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Neutralise:
    """Make the URL unfollowable; it stays readable in the receipt. `reason` is a code of docs/reasons.md."""

    reason: str
    level: str | None = None


Fate = Sealed | Keep | Neutralise

Protect = Callable[[Link], Fate]
"""What the rewriter is handed: it asks the fate of each http(s) link and carries it out. Never raises."""
