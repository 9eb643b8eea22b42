"""Which namespace a tag falls into: SVG and MathML inside HTML, integration points, breakout tags (WHATWG, 13.2.6.5). Pure.

Only elements inside an `svg` or `math` are kept on the stack; outside, the tokeniser needs no tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rewriter.html_references import attribute_value

HTML = "html"
SVG = "svg"
MATH = "math"

BREAKOUT = frozenset(
    {
        "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "h1", "h2", "h3",
        "h4", "h5", "h6", "head", "hr", "i", "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre", "ruby", "s",
        "small", "span", "strong", "strike", "sub", "sup", "table", "tt", "u", "ul", "var",
    }
)  # fmt: skip
VOID = frozenset(
    {
        "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "image", "img", "input", "keygen", "link",
        "meta", "param", "source", "track", "wbr",
    }
)  # fmt: skip
_NEVER_INSIDE = frozenset({"body", "frameset", "head", "html"})
_TABLE_PARTS = frozenset({"caption", "colgroup", "tbody", "td", "tfoot", "th", "thead", "tr"})
_STAYS_OPEN = frozenset({"body", "html", "head", "form"})
"""End tags that take nothing off the stack of open elements but, at most, themselves."""

_SVG_POINTS = frozenset({"foreignobject", "desc", "title"})
_MATH_POINTS = frozenset({"mi", "mo", "mn", "ms", "mtext"})
_HTML_ENCODINGS = frozenset({"text/html", "application/xhtml+xml"})


class Placed(Protocol):
    """An attribute with the place of its value."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    space: str
    point: bool = False  # an integration point: HTML may stand inside

    @property
    def is_special(self) -> bool:
        """WHATWG HTML, "special": an end tag of HTML neither closes it nor looks past it."""
        return self.point or self.name == "annotation-xml"


class _Stack:
    """Open elements. Where a name was opened last is known without a search, so that no nesting makes end tags slow."""

    def __init__(self) -> None:
        self.elements: list[_Element] = []
        self._places: dict[str, list[int]] = {}
        self._html: list[int] = []
        self._special: list[int] = []

    def push(self, element: _Element) -> None:
        place = len(self.elements)
        self.elements.append(element)
        self._places.setdefault(element.name, []).append(place)
        if element.space == HTML:
            self._html.append(place)
        elif element.is_special:
            self._special.append(place)

    def pop(self) -> None:
        element = self.elements.pop()
        self._places[element.name].pop()
        if element.space == HTML:
            self._html.pop()
        elif element.is_special:
            self._special.pop()

    def last(self, name: str) -> int:
        """Where the last element of this name stands; -1 where none is open."""
        places = self._places.get(name)
        return places[-1] if places else -1

    @property
    def last_html(self) -> int:
        return self._html[-1] if self._html else -1

    @property
    def last_special(self) -> int:
        return self._special[-1] if self._special else -1

    def pop_from(self, place: int) -> None:
        while len(self.elements) > place:
            self.pop()


class OpenElements:
    """The open elements from the outermost `svg` or `math` on. False while there is none."""

    def __init__(self) -> None:
        self._inside = _Stack()
        self._outside = _Stack()

    def __bool__(self) -> bool:
        return bool(self._inside.elements)

    @property
    def in_foreign_content(self) -> bool:
        return bool(self) and self._inside.elements[-1].space != HTML

    def start(
        self,
        name: str,
        attributes: Callable[[], Mapping[str, Placed]],
        source: str,
        self_closing: Callable[[], bool],
    ) -> str:
        """Take in a start tag; returns its namespace."""
        while self:
            top = self._inside.elements[-1]
            if top.space == HTML or self._is_point_for(top, name):
                break
            if name not in BREAKOUT and not (name == "font" and {"color", "face", "size"} & attributes().keys()):
                element = _Element(name, top.space, _is_point(name, top.space, attributes, source))
                if not self_closing():
                    self._inside.push(element)
                return top.space
            self._break_out()
        if name in (SVG, MATH):
            if not self_closing():
                self._inside.push(_Element(name, name))
            return name
        if self and name not in VOID and not self._is_ignored(name):
            self._inside.push(_Element(name, HTML))
        return HTML

    def _is_ignored(self, name: str) -> bool:
        """A start tag that makes no element there (WHATWG, 13.2.6.4.7)."""
        return name in _NEVER_INSIDE or (name in _TABLE_PARTS and self._inside.last("table") < 0)

    def _break_out(self) -> None:
        while self and self._inside.elements[-1].space != HTML and not self._inside.elements[-1].point:
            self._inside.pop()

    @staticmethod
    def _is_point_for(top: _Element, name: str) -> bool:
        if not top.point:
            return top.name == "annotation-xml" and top.space == MATH and name == SVG
        return not (top.space == MATH and name in ("mglyph", "malignmark"))

    def note_outside(self, name: str, *, opens: bool) -> None:
        """Take in a tag that stands before all foreign content: an end tag inside may close an element outside."""
        if not opens:
            self._close_outside(name)
        elif name not in VOID:
            self._outside.push(_Element(name, HTML))

    def _close_outside(self, name: str) -> bool:
        place = self._outside.last(name)
        if place < 0 or name in _STAYS_OPEN:
            return False
        self._outside.pop_from(place)
        return True

    def close(self, name: str) -> None:
        """Take in an end tag."""
        if not self:
            return
        top = self._inside.elements[-1]
        if name in ("p", "br") and top.space != HTML and not top.point:
            self._break_out()
            return
        inside = self._inside
        place = inside.last(name)
        if place > inside.last_html or (place > inside.last_special and inside.elements[place].space == HTML):
            inside.pop_from(place)
        elif inside.last_special < 0 and self._close_outside(name):
            inside.pop_from(0)


def _is_point(name: str, space: str, attributes: Callable[[], Mapping[str, Placed]], source: str) -> bool:
    if space == SVG:
        return name in _SVG_POINTS
    if name == "annotation-xml":
        encoding = attributes().get("encoding")
        return (
            encoding is not None and attribute_value(source[encoding.start : encoding.end]).lower() in _HTML_ENCODINGS
        )
    return name in _MATH_POINTS
