"""Which namespace a tag falls into: SVG and MathML inside HTML, integration points, breakout tags (WHATWG, 13.2.6.5). Pure.

Which elements of HTML are open decides it too: an end tag for what stands outside closes all foreign content in it, and one
for an integration point means nothing while an element of HTML is open inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rewriter.html_body import Tag
from rewriter.html_references import attribute_value
from rewriter.html_stack import HTML, MATH, SVG, Element
from rewriter.html_tree import Tree

BREAKOUT = frozenset(
    {
        "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "h1", "h2", "h3",
        "h4", "h5", "h6", "head", "hr", "i", "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre", "ruby", "s",
        "small", "span", "strong", "strike", "sub", "sup", "table", "tt", "u", "ul", "var",
    }
)  # fmt: skip
TORN = "torn"
"""Here browsers disagree: Chromium and WebKit compare with a case, and do not find `foreignObject` from within MathML."""

_SVG_POINTS = frozenset({"foreignobject", "desc", "title"})
_MATH_POINTS = frozenset({"mi", "mo", "mn", "ms", "mtext"})
_HTML_ENCODINGS = frozenset({"text/html", "application/xhtml+xml"})


class Placed(Protocol):
    """An attribute with the place of its value."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class OpenElements:
    """The open elements, as far as they have been told. True while one of them is foreign; what stands outside of all
    foreign content may be told later, by `note_outside`, as long as it is told in order."""

    def __init__(self) -> None:
        self._tree = Tree()
        self._stack = self._tree.stack

    def __bool__(self) -> bool:
        return bool(self._stack.foreign)

    @property
    def in_foreign_content(self) -> bool:
        top = self._stack.top
        return top is not None and top.space != HTML

    @property
    def depth(self) -> int:
        return len(self._stack.elements)

    @property
    def multiplies(self) -> bool:
        """Whether formatting elements were opened again so often that they are not followed any more."""
        return self._tree.lost_patience

    def start(
        self,
        name: str,
        attributes: Callable[[], Mapping[str, Placed]],
        source: str,
        self_closing: Callable[[], bool],
        spelt: str = "",
    ) -> str:
        """Take in a start tag; returns its namespace. `spelt`: its attributes as they stand in the source."""
        top = self._stack.top
        if top is not None and not self._is_html(top, name):
            if name not in BREAKOUT and not (name == "font" and {"color", "face", "size"} & attributes().keys()):
                if not self_closing():
                    self._stack.push(Element(name, top.space, _is_point(name, top.space, attributes, source)))
                return top.space
            self._break_out()
        self._tree.start(Tag(name, spelt, self_closing))
        return name if name in (SVG, MATH) else HTML

    @staticmethod
    def _is_html(top: Element, name: str) -> bool:
        """Whether a start tag inside `top` is read by the rules of HTML."""
        if top.space == HTML:
            return True
        if not top.point:
            return top.name == "annotation-xml" and top.space == MATH and name == SVG
        return not (top.space == MATH and name in ("mglyph", "malignmark") and top.name != "annotation-xml")

    def _break_out(self) -> None:
        while (top := self._stack.top) is not None and top.space != HTML and not top.point:
            self._stack.pop()

    def text(self, source: str, start: int, end: int) -> None:
        """Take in the text source[start:end]."""
        top = self._stack.top
        if top is None or top.space == HTML or top.point:
            self._tree.text(source[start:end])

    def doctype(self, spelt: str) -> None:
        """Take in a document type."""
        self._tree.doctype(spelt)

    def close(self, name: str) -> str:
        """Take in an end tag; returns the namespace of what it closes, `TORN` for SVG across MathML or the other way round."""
        top = self._stack.top
        if top is not None and top.space != HTML:
            if name in ("p", "br"):
                self._break_out()
            elif (place := self._stack.last_foreign(name)) > (self._stack.html[-1] if self._stack.html else -1):
                space = self._stack.elements[place].space
                self._stack.pop_from(place)
                return space if space == top.space else TORN
        self._tree.end(name)
        return HTML


def _is_point(name: str, space: str, attributes: Callable[[], Mapping[str, Placed]], source: str) -> bool:
    if space == SVG:
        return name in _SVG_POINTS
    if name == "annotation-xml":
        encoding = attributes().get("encoding")
        return (
            encoding is not None and attribute_value(source[encoding.start : encoding.end]).lower() in _HTML_ENCODINGS
        )
    return name in _MATH_POINTS
