"""Where links stand in HTML: a table of elements and attributes, and the places found in one source. Pure.

scan ─▶ candidates (every navigable attribute, every text that may hold a URL), the base, the text of each anchor
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rewriter.html_foreign import TORN
from rewriter.html_references import attribute_value, text_value
from rewriter.html_scan import (
    COMMENT,
    END,
    MANY,
    MAY_HOLD_URL,
    RAW,
    START,
    TEXT,
    Attribute,
    Token,
    attributes,
    href,
    scan,
)
from rewriter.html_stack import HTML, MATH, SVG
from toc.link import Kind

TABLE: Mapping[str, Mapping[str, Kind]] = {
    "area": {"href": Kind.AREA, "xlink:href": Kind.AREA},
    "form": {"action": Kind.FORM},
    "button": {"formaction": Kind.FORM},
    "input": {"formaction": Kind.FORM},
    "isindex": {"action": Kind.FORM},
    "iframe": {"src": Kind.FRAME},
    "frame": {"src": Kind.FRAME},
    "embed": {"src": Kind.FRAME},
    "object": {"data": Kind.FRAME},
    "applet": {"codebase": Kind.FRAME},
    "portal": {"src": Kind.FRAME},
    "a": {"href": Kind.SVG, "xlink:href": Kind.SVG},
    "animate": {"to": Kind.SVG, "from": Kind.SVG, "by": Kind.SVG, "values": Kind.SVG},
    "set": {"to": Kind.SVG, "from": Kind.SVG, "by": Kind.SVG, "values": Kind.SVG},
}
"""Element, in whatever namespace → navigable attributes. Some lead nowhere (a `form` inside SVG): to seal them all the same
costs nothing, and another reading of the tree cannot make a link of one. `href` of an `a` of HTML has its own road; every
MathML element and every VML shape has `href` too."""

_MAY_BE_XLINK = re.compile("[iI][nN][kK]:")
_XLINK = {"xlink:href": Kind.A}
_ANY_MATH = {"href": Kind.MATH, "xlink:href": Kind.MATH}
_VML = {"href": Kind.VML, "xlink:href": Kind.VML}
_CONDITIONAL = re.compile(r"<!--\[if[^\]>]*+\]>(?!<!-->)", re.IGNORECASE)
_COMMENT_END = re.compile(r"--!?>\Z")
_CONDITIONAL_END = re.compile(r"<!\[endif\]--", re.IGNORECASE)
_NO_LINKS_INSIDE = frozenset({"select", "button"})


@dataclass(slots=True)
class Anchor:
    """source[start:end]: what an `a` holds, to be compared with its target. It ends at the next tag of an `a`."""

    start: int
    end: int


class Place(NamedTuple):
    """A navigable attribute.

    part:   where inside the decoded value the URL stands (meta refresh, animation), else the whole
    closed: the value holds more than can be taken apart, and is neutralised
    """

    kind: Kind
    attribute: Attribute
    value: str
    anchor: Anchor | None = None
    part: tuple[int, int] | None = None
    element: str = ""
    closed: bool = False


class Text(NamedTuple):
    """source[start:end]: text outside any `a` that may hold a bare URL."""

    start: int
    end: int


@dataclass(slots=True)
class Found:
    """All of one source, ascending.

    bases:     the decoded href of each `base`, in whatever namespace
    ambiguous: whether something occurs of which parsers of different age make different trees: SVG, MathML, raw text in a select
    torn:      whether a tag occurs that today's browsers read in different ways
    compared:  pairs of attributes in tags with very many of them, as parsers compare each with all before it
    """

    places: list[Place] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    frames: list[Attribute] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    ambiguous: bool = False
    torn: bool = False
    compared: int = 0


class _Region(NamedTuple):
    """source[start:end], to be scanned. `text`: whether text in it is shown; a style sheet's is not."""

    start: int
    end: int
    raw_text: bool = True
    inner: bool = False
    text: bool = True


def find_places(source: str) -> Found:
    """Every place where a link may stand; conditional comments are read as Outlook reads them."""
    found = Found()
    regions = [_Region(0, len(source))]
    unclosed: set[int] = set()
    while regions:
        region = regions.pop()
        finder = _Finder(source, region, found, unclosed)
        for token in scan(source, region.start, region.end, raw_text=region.raw_text, inner=region.inner):
            finder.take(token)
        regions += finder.inside
    return found


class _Finder:
    """Takes the tokens of one region. `inside`: regions in it that other readers take for markup.

    unclosed: ends of regions up to which no ``<![endif]`` is found
    """

    def __init__(self, source: str, region: _Region, found: Found, unclosed: set[int]) -> None:
        self.inside: list[_Region] = []
        self._source = source
        self._region = region
        self._found = found
        self._unclosed = unclosed
        self._anchor: Anchor | None = None
        self._closed: list[str] = []  # open elements in which text makes no link
        self._closed_count: Counter[str] = Counter()

    def take(self, token: Token) -> None:
        kind = token.kind
        if kind is START:
            self._start(token)
        elif kind is END:
            self._end(token)
        elif kind is TEXT:
            self._text(token)
        elif kind is COMMENT:
            self._conditionals(token, text=True)
        elif kind is RAW:
            self._raw(token)

    def _text(self, token: Token) -> None:
        shown = self._anchor is None and not self._closed and self._region.text
        if shown and MAY_HOLD_URL.search(self._source, token.start, token.end):
            self._found.texts.append(Text(token.start, token.end))

    def _close_anchor(self, end: int) -> None:
        if self._anchor is not None:
            self._anchor.end = end
            self._anchor = None

    def _end(self, token: Token) -> None:
        if token.name == "a":
            if token.space == HTML:
                self._close_anchor(token.start)
        elif token.space == TORN:
            self._found.torn = True
        if self._closed_count[token.name]:
            while True:
                name = self._closed.pop()
                self._closed_count[name] -= 1
                if name == token.name:
                    break

    def _raw(self, token: Token) -> None:
        """Raw text is markup for some: all of it inside a `select`, conditional comments in it for Outlook."""
        if self._closed_count["select"]:
            self._raw_in_select(token)
            return
        self._conditionals(token, text=False)

    def _conditionals(self, token: Token, *, text: bool) -> None:
        """Downlevel-hidden conditional comments in a comment or in raw text: their content is HTML for Outlook."""
        place = token.start
        end = token.end
        if text and (closed := _COMMENT_END.search(self._source, max(place, end - 4), end)):
            end = closed.start()  # nobody's text: a URL in front of it must not take it in
        while opening := _CONDITIONAL.search(self._source, place, end):
            place = end
            if place not in self._unclosed:
                closing = _CONDITIONAL_END.search(self._source, opening.end(), place)
                if closing is None:
                    self._unclosed.add(place)
                else:
                    place = closing.start()
            self.inside.append(_Region(opening.end(), place, self._region.raw_text, inner=True, text=text))

    def _raw_in_select(self, token: Token) -> None:
        """Browsers of before 2025 drop most tags in a `select`: what others read as raw text is markup for them."""
        self._found.ambiguous = True
        self.inside.append(_Region(token.start, token.end, raw_text=False, inner=True))

    def _start(self, token: Token) -> None:
        name = token.name
        if token.end - token.start > 2 * MANY:
            self._found.compared += len(attributes(self._source, token)) ** 2
        if name == "a" and token.space == HTML:
            self._link(token)
            return
        if name == "base":
            self._base(token)
            if token.space != MATH:
                return
        if name == "meta" and token.space == HTML:
            self._refresh(token)
        navigable = TABLE.get(name)
        if name in (SVG, MATH):
            self._found.ambiguous = True
        if name in (SVG, MATH) or (name in _NO_LINKS_INSIDE and token.space == HTML):
            self._closed.append(name)
            self._closed_count[name] += 1
        if token.space == MATH:
            navigable = {**(navigable or {}), **_ANY_MATH}
        elif ":" in name:
            navigable = _VML
        if navigable is not None:
            self._attributes(token, navigable)

    def _link(self, token: Token) -> None:
        """An `a` of HTML; it closes one that is still open (WHATWG HTML, "in body")."""
        self._close_anchor(token.start)
        self._anchor = Anchor(token.end, self._region.end)
        attribute = href(self._source, token)
        if attribute is not None:
            value = attribute_value(self._source[attribute.start : attribute.end])
            self._found.places.append(Place(Kind.A, attribute, value, self._anchor, element="a"))
        if _MAY_BE_XLINK.search(self._source, *token.inner):
            self._attributes(token, _XLINK)

    def _attributes(self, token: Token, navigable: Mapping[str, Kind]) -> None:
        source = self._source
        found = attributes(source, token)
        if token.name in ("animate", "set") and token.space != MATH and not _moves_a_link(source, found):
            return
        places = []
        for name, kind in navigable.items():
            attribute = found.get(name)
            if attribute is None:
                continue
            value = attribute_value(source[attribute.start : attribute.end])
            if name == "values" and ";" in value:
                places += _listed(attribute, value, plain=value == source[attribute.start : attribute.end])
            else:
                places.append(Place(kind, attribute, value, self._anchor, element=token.name))
        self._found.places += sorted(places, key=lambda place: place.attribute.start)
        if token.name == "iframe" and "srcdoc" in found:
            self._found.frames.append(found["srcdoc"])

    def _base(self, token: Token) -> None:
        attribute = href(self._source, token)
        if attribute is not None:
            self._found.bases.append(attribute_value(self._source[attribute.start : attribute.end]))

    def _refresh(self, token: Token) -> None:
        found = attributes(self._source, token)
        equiv, content = found.get("http-equiv"), found.get("content")
        if equiv is None or content is None:
            return
        if attribute_value(self._source[equiv.start : equiv.end]).lower() != "refresh":
            return
        value = attribute_value(self._source[content.start : content.end])
        part = refresh_url(value)
        if part is not None:
            start, end, closed = part
            place = Place(Kind.REFRESH, content, value[start:end], None, (start, end), "meta", closed)
            self._found.places.append(place)


def _listed(attribute: Attribute, value: str, *, plain: bool) -> list[Place]:
    """A list of values that an animation runs through (SVG, "values"). Where references stand in it, all are one."""
    if not plain:
        return [Place(Kind.SVG, attribute, value, element="animate", closed=True)]
    places = []
    start = 0
    for piece in value.split(";"):
        end = start + len(piece)
        places.append(Place(Kind.SVG, attribute, piece, None, (start, end), "animate"))
        start = end + 1
    return places


_SPACE = r"\t\n\f\r "
_MORE = r"\v\u1680\u2000-\u200a\u2028\u205f\u3000"
"""More white space, that Chromium strips from the time and from the URL of a refresh, and other browsers don't."""

_REFRESH = re.compile(
    rf"[{_SPACE}{_MORE}]*+(?:[0-9]++[0-9.]*+|\.[0-9.]*+)[{_MORE}]*+(?:[;,]|[{_SPACE}]++[;,]?+)[{_SPACE}]*+(.*)\Z",
    re.DOTALL,
)
_REFRESH_URL = re.compile(rf"[uU][rR][lL][{_SPACE}]*+=[{_SPACE}]*+")
_REFRESH_PADDING = re.compile(rf"[{_SPACE}{_MORE}]*+")


def refresh_url(content: str) -> tuple[int, int, bool] | None:
    """Where the URL stands in the content of a refresh (WHATWG, "shared declarative refresh steps"); None for none.

    The third value: whether it ends at another place for Chromium, for which the last quote ends it and not the next one.
    """
    found = _REFRESH.match(content)
    if found is None or not found.group(1):
        return None
    start = found.start(1)
    spelt = _REFRESH_URL.match(content, start)
    if spelt is not None:
        start = spelt.end()
    quote = content[start : start + 1]
    quoted = quote in ("'", '"')
    padding = _REFRESH_PADDING.match(content, start + quoted)
    start = padding.end() if padding else start
    if not quoted:
        return start, len(content), False
    end, last = content.find(quote, start), content.rfind(quote, start)
    return start, len(content) if end < 0 else end, end != last


def _moves_a_link(source: str, found: Mapping[str, Attribute]) -> bool:
    """SMIL: only an animation of ``href`` changes where a link leads."""
    name = found.get("attributename")
    return name is not None and "href" in attribute_value(source[name.start : name.end]).lower()


def anchor_text(source: str, anchor: Anchor) -> str:
    """The visible text, decoded."""
    tokens = scan(source, anchor.start, anchor.end, stretches=False)
    return "".join(text_value(source[t.start : t.end], t.start)[0] for t in tokens if t.kind is TEXT)
