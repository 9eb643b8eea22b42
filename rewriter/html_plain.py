"""Whether the tags of an HTML document say plainly which elements are open, so that its tree is as deep as they are nested. Pure.

A narrow question with a cheap answer: each end tag names the element opened last, and no start tag closes one, implies more than
a section of a table, or stands where a parser moves it. Then nothing is opened twice either ("reconstruct the active formatting
elements" finds all of them open). Long tables and drawings that programs write are like that; for anything else the answer is no.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rewriter.html_foreign import BREAKOUT

_WS = r"\t\n\f\r "
_ATTRIBUTES = rf"(?:[{_WS}]++[^{_WS}\"'<>=/]++(?:=(?:\"[^\"]*+\"|'[^']*+'|[^{_WS}\"'<>=`]++))?+)*+[{_WS}]*+"
_UNIT = (
    rf"[^<]*+<(?:(/?)([a-zA-Z][a-zA-Z0-9:-]*+){_ATTRIBUTES}(/?)>"
    r"|!--(?!-?>)(?:[^-<]++|-(?!-!?>))*+-->"
    r"|(!)--(?!-?>)(?:[^-]++|-(?!-!?>))*+-->|([!?])(?!--|\[CDATA)[^>]*+>)"
)
_TAG = re.compile(_UNIT)
_ONLY_SUCH = re.compile(
    rf"(?:{re.sub(r'[(](?![?])', '(?:', _UNIT)})*+[^<]*+\Z"
)  # CPython 3.11 fails on groups in a possessive one
"""Tags, comments and document types so spelt that every tokeniser sees the same ones. Groups: what makes an end tag of it, name,
what makes it self-closing; marks of what may hide or show a tag where it stands in raw text."""

_VOID = frozenset({"br", "img", "wbr"})
_INLINE = _VOID | {
    "a", "abbr", "b", "big", "cite", "code", "em", "font", "i", "o:p", "s", "small", "span", "strike", "strong", "sub", "sup",
    "svg", "tt", "u",
}  # fmt: skip
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _HEADINGS | {"blockquote", "center", "div", "hr", "ol", "p", "table", "ul"}
_SECTIONS = frozenset({"tbody", "tfoot", "thead"})
_PARENTS = {
    "html": frozenset({""}),
    **dict.fromkeys(("body", "head"), frozenset({"", "html"})),
    **dict.fromkeys(("link", "meta"), frozenset({"", "body", "head"})),
    "li": frozenset({"ol", "ul"}),
    "col": frozenset({"colgroup"}),
    "tr": _SECTIONS | {"table"},
    **dict.fromkeys(("td", "th"), frozenset({"tr"})),
    **dict.fromkeys((*_SECTIONS, "colgroup"), frozenset({"table"})),
}
"""Elements that stand in certain others only; the empty name is the document."""

_ONLY_PARTS = _SECTIONS | {"colgroup", "head", "html", "table", "tr"}
"""Elements in which no other may stand."""

_CHILDLESS = _VOID | {"col", "hr", "link", "meta"}
_RAW = frozenset({"style", "title"})
_LEAVES_SVG = BREAKOUT | {"desc", "font", "foreignobject"}


class _Place(NamedTuple):
    """Where a tag stands: in which element of HTML, and whether anywhere inside a paragraph or a link."""

    parent: str
    in_p: bool = False
    in_a: bool = False


_DRAWING = _Place("svg")
_TEXT = _Place("style")


def is_plain(html: str, limit: int) -> bool:
    """Whether `html` is such a document, nested `limit` deep at most; at most twice as many elements are open then, as a row
    implies a section of its table."""
    if _ONLY_SUCH.match(html) is None:
        return False
    names = [""]
    places = [_Place("")]
    for found in _TAG.finditer(html):
        slash, spelt, closed, *marks = found.groups("")
        name = spelt.lower()
        if slash:
            if names.pop() != name:
                return False
            places.pop()
        elif name:
            inside = _inside(places[-1], name)
            if inside is None or len(names) > limit:
                return False
            if not (closed and inside is _DRAWING) and not (name in _CHILDLESS and inside is not _DRAWING):
                names.append(name)
                places.append(inside)
        elif places[-1] is _TEXT and any(marks):
            return False
    return True


@lru_cache(4096)
def _inside(place: _Place, name: str) -> _Place | None:
    """The place inside an element that begins at `place`; None where it would not stand there, or close another one."""
    if place is _TEXT:
        return None
    if name in _RAW:
        return _TEXT
    if place is _DRAWING:
        return None if name in _LEAVES_SVG else _DRAWING
    if name == "svg":
        return None if place.parent in _ONLY_PARTS else _DRAWING
    parents = _PARENTS.get(name)
    if parents is not None:
        fits = place.parent in parents
    elif place.parent in _ONLY_PARTS:
        fits = False
    elif name in _BLOCKS:
        fits = not place.in_p and not (name in _HEADINGS and place.parent in _HEADINGS)
    else:
        fits = name in _INLINE and not (name == "a" and place.in_a)
    return _Place(name, place.in_p or name == "p", place.in_a or name == "a") if fits else None
